# What the module `load` needs beyond the other modules: a client and JSON.
target_link_libraries(cairn_load PRIVATE nlohmann_json::nlohmann_json PkgConfig::httplib PkgConfig::openssl)
target_compile_options(cairn_load PRIVATE $<$<CONFIG:Release>:-O1>
                       "$<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-stringop-overflow>")  # as in serve.cmake
