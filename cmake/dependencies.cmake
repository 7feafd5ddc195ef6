# Debian 12 packages; the comment names the package that provides each.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)       # libsodium-dev
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)       # libpcre2-dev
pkg_check_modules(uring REQUIRED IMPORTED_TARGET liburing)         # liburing-dev
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)           # libzstd-dev
find_path(XXHASH_INCLUDE xxhash.h REQUIRED)                        # libxxhash-dev; inlined, so only its header
find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)             # libtomlplusplus-dev; its headers alone
find_package(CLI11 REQUIRED)                                       # libcli11-dev
find_package(nlohmann_json REQUIRED)                               # nlohmann-json3-dev
if(CAIRN_REDIS)
  pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET hiredis)        # libhiredis-dev
endif()
if(CAIRN_FAISS)
  find_package(faiss REQUIRED)                                       # libfaiss-dev
  find_package(OpenMP REQUIRED)                                      # g++; only to tell faiss to stay on one thread
  find_package(Eigen3 3.4 REQUIRED NO_MODULE)                        # libeigen3-dev; its headers alone
endif()
if(CAIRN_SERVER)
  pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)    # libcpp-httplib-dev
  pkg_check_modules(openssl REQUIRED IMPORTED_TARGET openssl)        # libssl-dev
  pkg_check_modules(prometheus REQUIRED IMPORTED_TARGET prometheus-cpp-core)  # prometheus-cpp-dev
  pkg_check_modules(spdlog REQUIRED IMPORTED_TARGET spdlog)          # libspdlog-dev
endif()
if(CAIRN_TESTS)
  find_package(GTest REQUIRED)                                     # libgtest-dev libgmock-dev
  find_path(RAPIDCHECK_INCLUDE rapidcheck.h REQUIRED)              # librapidcheck-dev
  find_library(RAPIDCHECK_LIB rapidcheck REQUIRED)
endif()
