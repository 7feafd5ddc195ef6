# cairn_module(NAME ALLOWED...): one static library per folder of cairn/, linked to the modules that layers.txt allows.
# Sources are all *.cc of the folder except *_test.cc; kernels/<isa>/*.cc get that ISA's flags.
set(CAIRN_ISA_avx2 -mavx2 -mfma -mf16c)
set(CAIRN_ISA_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c
                      -Wno-maybe-uninitialized -Wno-uninitialized)  # GCC 12 warns inside its own intrinsics

add_library(cairn_options INTERFACE)
# Warnings are for this tree alone; an installed package does not impose them on its users. g++ 12 gives false -Wrestrict
# warnings for `"text" + string` (GCC bug 105651).
set(warnings -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
             $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<BOOL:${CAIRN_WERROR}>:-Werror>)
if(CAIRN_SANITIZE)
  list(APPEND warnings $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)  # g++ 12 says so of std::regex, and of itself
endif()
# No contraction: a*b+c must be the same two roundings (or an explicit fma) in every build, or bits would differ by ISA.
target_compile_options(cairn_options INTERFACE "$<BUILD_INTERFACE:${warnings};-ffp-contract=off>")
target_include_directories(cairn_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                           $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(cairn_options INTERFACE cxx_std_23)
if(CAIRN_SANITIZE)
  target_compile_options(cairn_options INTERFACE -fsanitize=${CAIRN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(cairn_options INTERFACE -fsanitize=${CAIRN_SANITIZE})
endif()

# Each header as the only include of a source. The public ones see nothing but each other.
add_library(cairn_headers OBJECT EXCLUDE_FROM_ALL)
target_link_libraries(cairn_headers PRIVATE cairn_options)
add_library(cairn_public_headers OBJECT EXCLUDE_FROM_ALL)
target_include_directories(cairn_public_headers PRIVATE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(cairn_public_headers PRIVATE ${warnings} -Wpedantic)
add_custom_target(verify_headers DEPENDS cairn_headers cairn_public_headers)
function(cairn_verify_header target header)
  cmake_path(RELATIVE_PATH header BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE path)
  set(source ${PROJECT_BINARY_DIR}/headers/${path}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n")
  target_sources(${target} PRIVATE ${source})
endfunction()
file(GLOB public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/cairn/*.h)
foreach(header IN LISTS public_headers)
  cairn_verify_header(cairn_public_headers ${header})
endforeach()

set(CAIRN_MODULES "")
function(cairn_module name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cairn/${name}/*.cc)
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  # What a build leaves out is a folder of its own; a file named *_absent.cc stands in for it and says so.
  if(CAIRN_REDIS)
    list(FILTER sources EXCLUDE REGEX "/redis_absent\\.cc$")
  else()
    list(FILTER sources EXCLUDE REGEX "/store/redis/")
  endif()
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cairn/${name}/*.h)
  list(FILTER headers EXCLUDE REGEX "-inl\\.h$")
  # Headers are compiled alone (verify_headers), but for those that a source begins with (tools/check_layers.py): that is
  # the proof already.
  foreach(header IN LISTS headers)
    cmake_path(REPLACE_EXTENSION header cc OUTPUT_VARIABLE source)
    if(NOT EXISTS ${source})
      cairn_verify_header(cairn_headers ${header})
    endif()
  endforeach()
  set(target cairn_${name})
  add_library(${target} STATIC ${sources})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} LINKER_LANGUAGE CXX)
  add_library(cairn::${name} ALIAS ${target})
  target_link_libraries(${target} PUBLIC cairn_options)
  foreach(dep IN LISTS ARGN)
    target_link_libraries(${target} PUBLIC cairn_${dep})
  endforeach()
  foreach(isa avx2 avx512)
    set(isa_sources ${sources})
    list(FILTER isa_sources INCLUDE REGEX "/${isa}/")
    set_source_files_properties(${isa_sources} PROPERTIES COMPILE_OPTIONS "${CAIRN_ISA_${isa}}")
  endforeach()
  # Most of a small file's compile time is its headers: in batches the modules take 240 CPU seconds, one by one 401, and that
  # with the headers of the standard library precompiled. Other build types compile each file alone, which shows what one
  # forgot to include.
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)  # of a file's own types
  endif()
  if(name STREQUAL "kernels" AND NOT CAIRN_SANITIZE)
    target_compile_options(${target} PRIVATE -O3)  # plain loops rely on the vectoriser, in every build type
  endif()
  set(CAIRN_MODULES ${CAIRN_MODULES} ${name} PARENT_SCOPE)
endfunction()
