"""The kernel under sanitizers: memory errors and undefined behaviour, then data races; a line per program that ran.

Run as ``python tests/native/sanitize.py FOLDER``, with the package and what its tests need installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import write_cases

ROOT = Path(__file__).parents[2]
SANITIZERS = ("address,undefined", "thread")
# Python frees little of what it has when it ends, which is no leak of the kernel's.
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=1"}


def run(*command, **environment):
    """Run a command; end with its output if it fails."""
    done = subprocess.run(
        list(map(str, command)), env={**os.environ, **OPTIONS, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"error: {' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def built(sanitizer, folder):
    """Build library and driver with a sanitizer; return both."""
    flags = f"-fsanitize={sanitizer} -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
    run("cmake", "-S", ROOT, "-B", folder, f"-DCMAKE_CXX_FLAGS={flags}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo")
    run("cmake", "--build", folder, "--parallel")
    driver = folder / "driver"
    compiler = os.environ.get("CXX", "c++")
    run(
        compiler,
        "-std=c++20",
        "-O1",
        *flags.split(),
        ROOT / "tests/native/driver.cpp",
        "-o",
        driver,
        "-ldl",
        "-pthread",
    )
    return folder / "rmsprop_native.so", driver


def python_tests(library, folder):
    """Run the kernel's Python tests on a library that has AddressSanitizer; return pytest's last line."""
    package = folder / "python" / "rmsprop"
    shutil.rmtree(package.parent, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "rmsprop", package, ignore=shutil.ignore_patterns("rmsprop_native.*", "__pycache__"))
    shutil.copy(library, package)
    preloaded = run(os.environ.get("CXX", "c++"), "-print-file-name=libasan.so").strip()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [ROOT / "tests" / "test_native.py", ROOT / "tests" / "test_rows.py"]
    # 24,000 updates take minutes here, and the driver has callers that meet; 1,000 steps are for roundings.
    command += ["-k", "not meet_at_the_end and not a_thousand_steps"]
    run_by = {"LD_PRELOAD": preloaded, "PYTHONPATH": str(package.parent), "PYTHONMALLOC": "malloc"}
    return run(*command, **run_by).splitlines()[-1]


def main(folder):
    """Run everything."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = folder / "cases.bin"
    write_cases.main(cases)
    for sanitizer in SANITIZERS:
        library, driver = built(sanitizer, folder / sanitizer.replace(",", "-"))
        print(f"{sanitizer}, driver: {run(driver, library, cases).splitlines()[-1]}", flush=True)
        if sanitizer.startswith("address"):
            print(f"{sanitizer}, Python tests: {python_tests(library, driver.parent)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
