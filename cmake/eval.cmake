# What the module `eval` needs beyond the other modules: JSON.
target_link_libraries(cairn_eval PRIVATE nlohmann_json::nlohmann_json)
# JSON: its templates take longer to optimise than they will ever run.
target_compile_options(cairn_eval PRIVATE "$<$<CONFIG:Release>:$<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-stringop-overflow>>")
