"""What makes a release of the sources: wheels for every platform, their checks, and the list of what is in them.

- `platforms`: for what there are wheels, one row each; `zig.cmake` is how CMake builds for them.
- `build`: the source archive and the wheels.
- `check`: what must hold for each wheel.
- `execute`: installs one, and runs the tests of the kernel against that of this machine.
- `sbom`: what the wheels are made of, in CycloneDX's format.
- `wheels`: all of it, and a table of what was done.
- `constraints`: the versions that everything is tested with.
"""
