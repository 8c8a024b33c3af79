# Zig's C++ compiler as a cross-compiler, from the environment: RMSPROP_ZIG, its program, and RMSPROP_ZIG_TARGET, what to
# build for (x86_64-linux-gnu.2.17). It brings the headers and libraries of every target with it.
string(REGEX MATCH "^([^-]+)-([^-.]+)" _ "$ENV{RMSPROP_ZIG_TARGET}")
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
if(CMAKE_MATCH_2 STREQUAL "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
  set(CMAKE_INSTALL_NAME_TOOL ${CMAKE_COMMAND})  # CMake wants one, and doesn't call it without an RPATH
  set(CMAKE_USER_MAKE_RULES_OVERRIDE_CXX "${CMAKE_CURRENT_LIST_DIR}/zig-macos.cmake")
elseif(CMAKE_MATCH_2 STREQUAL "windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  set(CMAKE_SYSTEM_NAME Linux)
  # Of the C++ library that is linked in, nothing is exported.
  set(exports "-Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/exports.map")
endif()

set(CMAKE_CXX_COMPILER "$ENV{RMSPROP_ZIG}" c++ -target "$ENV{RMSPROP_ZIG_TARGET}")
set(CMAKE_SKIP_RPATH ON)
set(CMAKE_MODULE_LINKER_FLAGS_INIT "-s ${exports}")
