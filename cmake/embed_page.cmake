# Writes OUT, a source file that holds the files of FOLDER. Usage: cmake -DFOLDER=... -DOUT=... -P embed_page.cmake
file(GLOB_RECURSE files RELATIVE ${FOLDER} ${FOLDER}/*)
list(FILTER files EXCLUDE REGEX "^report/")  # the page of `cairn eval report`: cmake/embed_report.cmake
list(SORT files)
set(type_html "text/html; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_json "application/json")
set(type_svg "image/svg+xml")
set(type_png "image/png")
set(type_ico "image/x-icon")
set(type_woff2 "font/woff2")
set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS files)
  cmake_path(GET file EXTENSION LAST_ONLY extension)
  string(REPLACE "." "" extension "${extension}")
  if(NOT DEFINED type_${extension})
    message(FATAL_ERROR "web/${file}: no content type for this kind of file; add it to cmake/embed_page.cmake")
  endif()
  file(READ ${FOLDER}/${file} bytes HEX)
  file(SIZE ${FOLDER}/${file} size)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "constexpr unsigned char kFile${number}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"/${file}\", \"${type_${extension}}\", {reinterpret_cast<const char*>(kFile${number}), ${size}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUT} "#include \"cairn/serve/api/endpoints.h\"
#include <vector>
namespace cairn::api {
namespace {
${arrays}}  // namespace
std::span<const PageFile> page_files() {
  static const std::vector<PageFile> files = {
${rows}  };
  return files;
}
}  // namespace cairn::api
")
