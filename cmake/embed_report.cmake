# Writes OUT, a source file in which FUNCTION, declared in HEADER, returns a page as one text: the scripts and style sheets of
# FILES, in their order, within the one page of FILES. Modules become one script, so their top-level names must differ.
# Usage: cmake "-DFILES=..." -DHEADER=... -DFUNCTION=NAMESPACE::NAME -DOUT=... -P embed_report.cmake
set(scripts "")
set(styles "")
foreach(file IN LISTS FILES)
  file(READ ${file} text)
  if(file MATCHES "\\.js$")
    string(REGEX REPLACE "(^|\n)import [^\n]*" "\\1" text "${text}")
    string(REGEX REPLACE "(^|\n)export " "\\1" text "${text}")
    string(APPEND scripts "${text}")
  elseif(file MATCHES "\\.css$")
    string(APPEND styles "${text}")
  else()
    set(page "${text}")
  endif()
endforeach()
string(REPLACE "@STYLE@" "${styles}" page "${page}")
string(REPLACE "@SCRIPT@" "${scripts}" page "${page}")
file(WRITE ${OUT}.html "${page}")
file(READ ${OUT}.html bytes HEX)
file(SIZE ${OUT}.html size)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "#include \"${HEADER}\"
std::string_view ${FUNCTION}() {
  static constexpr unsigned char kPage[] = {${bytes}0};
  return {reinterpret_cast<const char*>(kPage), ${size}};
}
")
