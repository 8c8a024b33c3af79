# Zig's linker makes no bundles, which CMake's modules are on macOS; ctypes loads a dynamic library as well.
set(CMAKE_SHARED_MODULE_CREATE_CXX_FLAGS "-dynamiclib")
