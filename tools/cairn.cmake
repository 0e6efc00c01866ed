# How Cairn's modules become targets. A module is a folder server/<name>, with folders of its own where it is large:
#   *.cpp                        library cairn_<name> (all but the kinds below)
#   *_test.cpp                   program <name>_test: needs no database
#   *_pgtest.cpp                 program <name>_pgtest: makes its own databases, may use `schema` too
#   *_fuzz.cpp                   one libFuzzer program each, named as the file (with CAIRN_FUZZ); of the server it links
#                                what its lines `// needs: base/json.cpp ...` name, so that few objects are instrumented
#   main.cpp                     the binary
# All are found by globs that every build checks again, so no file can be orphaned; a folder may be empty or missing.
# The vector engine is one library and one module (cairn_core, cairn_extension below).
include_guard()

file(WRITE ${CMAKE_BINARY_DIR}/generated/empty.cpp "")

function(cairn_module name)
  cmake_parse_arguments(arg "" "" "DEPENDS" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/server/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cpp ${dir}/*/*.cpp)
  list(FILTER sources EXCLUDE REGEX "(_test|_pgtest|_fuzz|/main)\\.cpp$")
  if(NOT sources)
    set(sources ${CMAKE_BINARY_DIR}/generated/empty.cpp)
  endif()
  add_library(cairn_${name} STATIC ${sources})
  target_include_directories(cairn_${name} PUBLIC ${CMAKE_SOURCE_DIR}/server ${CMAKE_BINARY_DIR}/generated)
  list(TRANSFORM arg_DEPENDS PREPEND cairn_)
  target_link_libraries(cairn_${name} PUBLIC ${arg_DEPENDS})
  cairn_precompile(cairn_${name})

  if(CAIRN_TESTS)
    cairn_test(${name}_test "${dir}/*_test.cpp;${dir}/*/*_test.cpp" cairn_${name})
    # A test with a database wants the tables in it, which are made by a module that its own need not know.
    cairn_test(${name}_pgtest "${dir}/*_pgtest.cpp;${dir}/*/*_pgtest.cpp" cairn_${name} cairn_schema)
  endif()
  if(CAIRN_FUZZ)
    cairn_fuzzers(server "${dir}/*_fuzz.cpp;${dir}/*/*_fuzz.cpp" Threads::Threads simdjson::simdjson OpenSSL::Crypto spdlog::spdlog Boost::headers
                  PkgConfig::libpq)
  endif()
endfunction()

# One precompiled header for all of the server, made with cairn_base, and several sources compiled as one.
function(cairn_precompile target)
  if(NOT CAIRN_BUILD_ONCE)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/unity_groups.py ${sources}
                  OUTPUT_VARIABLE groups OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" groups "${groups}")
  foreach(line ${groups})
    string(REGEX MATCH "^([0-9]+) (.*)$" line "${line}")
    set_source_files_properties(${CMAKE_MATCH_2} PROPERTIES UNITY_GROUP group_${CMAKE_MATCH_1})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  if(target STREQUAL cairn_base)
    target_precompile_headers(cairn_base PRIVATE <algorithm> <chrono> <cmath> <filesystem> <fstream> <functional> <iostream> <map> <memory>
                              <optional> <random> <set> <span> <sstream> <string> <unordered_map> <variant> <vector> <fmt/format.h> <fmt/chrono.h>
                              <gtest/gtest.h> <simdjson.h>)
  else()
    target_precompile_headers(${target} REUSE_FROM cairn_base)
  endif()
endfunction()

function(cairn_fuzzers root pattern) # library...
  file(GLOB fuzzers CONFIGURE_DEPENDS ${pattern})
  foreach(source ${fuzzers})
    get_filename_component(fuzzer ${source} NAME_WE)
    file(STRINGS ${source} needs REGEX "^// needs: ")
    set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    list(TRANSFORM needs REPLACE "^// needs: +" "")
    list(JOIN needs " " needs)
    separate_arguments(needs)
    add_executable(${fuzzer} ${source})
    set(parts ${fuzzer})
    foreach(need ${needs})
      string(MAKE_C_IDENTIFIER fuzzed_${need} object)
      if(NOT TARGET ${object})
        add_library(${object} OBJECT ${CMAKE_SOURCE_DIR}/${root}/${need})
        list(APPEND parts ${object})
      endif()
      target_sources(${fuzzer} PRIVATE $<TARGET_OBJECTS:${object}>)
    endforeach()
    foreach(part ${parts})
      target_include_directories(${part} PRIVATE ${CMAKE_SOURCE_DIR}/${root})
      target_link_libraries(${part} PRIVATE ${ARGN})
    endforeach()
    target_link_options(${fuzzer} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${fuzzer})
  endforeach()
endfunction()

function(cairn_test program pattern) # library...
  file(GLOB sources CONFIGURE_DEPENDS ${pattern})
  if(sources)
    add_executable(${program} ${sources})
    target_link_libraries(${program} PRIVATE ${ARGN} GTest::gtest GTest::gtest_main)
    if(TARGET cairn_base AND NOT program STREQUAL core_test)
      cairn_precompile(${program})
    endif()
    target_compile_definitions(${program} PRIVATE CAIRN_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  endif()
endfunction()

# The binary from server/<module>/main.cpp, as soon as that exists.
function(cairn_binary name module)
  file(GLOB main CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/server/${module}/main.cpp)
  if(main)
    add_executable(${name} ${main})
    target_link_libraries(${name} PRIVATE cairn_${module})
  endif()
endfunction()

# Library whose header <header> declares files as byte strings (see tools/embed.py), so that the binary is self contained:
#   cairn_embed(<target> HEADER embedded/<x>.h FUNCTION <name> FILES <file>...)
function(cairn_embed target)
  cmake_parse_arguments(arg "" "HEADER;FUNCTION" "FILES" ${ARGN})
  set(header ${CMAKE_BINARY_DIR}/generated/${arg_HEADER})
  cairn_embed_command(${target} ${header} files --function ${arg_FUNCTION} FILES ${arg_FILES})
endfunction()

# Library with every migration of a folder; header schema/embedded_migrations.h.
function(cairn_embed_migrations target folder)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.sql)
  cairn_embed_command(${target} ${CMAKE_BINARY_DIR}/generated/schema/embedded_migrations.h migrations FILES ${files})
endfunction()

function(cairn_embed_command target header)
  cmake_parse_arguments(arg "" "" "FILES" ${ARGN})
  string(REGEX REPLACE "\\.h$" ".cpp" source ${header})
  set(tool ${CMAKE_SOURCE_DIR}/tools/embed.py)
  list(TRANSFORM arg_FILES REPLACE "^([^/].*)" "${CMAKE_SOURCE_DIR}/\\1")
  add_custom_command(OUTPUT ${header} ${source}
                     COMMAND Python3::Interpreter ${tool} ${arg_UNPARSED_ARGUMENTS} ${header} ${source} ${arg_FILES}
                     DEPENDS ${tool} ${arg_FILES} VERBATIM)
  # PUBLIC header: whoever links the target waits for it to be made.
  add_library(${target} STATIC ${source} ${header})
  target_include_directories(${target} PUBLIC ${CMAKE_BINARY_DIR}/generated)
endfunction()

# The vector engine's algorithms, core/*/: library cairn_core, program core_test, fuzzers. Optimised in every preset but the
# sanitizers', because SIMD without it is hundreds of times slower than the plain code that it replaces.
set(cairn_optimised $<$<NOT:$<OR:$<BOOL:${CAIRN_SANITIZED}>,$<BOOL:${CAIRN_FUZZ}>>>:-O2>)

function(cairn_core)
  set(dir ${CMAKE_SOURCE_DIR}/core)
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*/*.cpp)
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cpp$")
  if(NOT sources)
    set(sources ${CMAKE_BINARY_DIR}/generated/empty.cpp)
  endif()
  add_library(cairn_core STATIC ${sources})
  target_include_directories(cairn_core PUBLIC ${dir})
  target_compile_options(cairn_core PRIVATE -fno-exceptions -fno-rtti -fvisibility=hidden ${cairn_optimised})
  target_link_libraries(cairn_core PUBLIC PkgConfig::hwy)
  set_target_properties(cairn_core PROPERTIES POSITION_INDEPENDENT_CODE ON)
  if(CAIRN_TESTS)
    cairn_test(core_test "${dir}/*/*_test.cpp" cairn_core)
  endif()
  if(CAIRN_FUZZ)
    cairn_fuzzers(core "${dir}/*/*_fuzz.cpp" PkgConfig::hwy)
  endif()
endfunction()

# The PostgreSQL module extension/vector.so with its control file and the SQL scripts, made from extension/**.
# A sanitized module cannot be loaded into a PostgreSQL that is not: those presets have none.
function(cairn_extension)
  if(CAIRN_SANITIZED OR CAIRN_FUZZ)
    return()
  endif()
  set(dir ${CMAKE_SOURCE_DIR}/extension)
  set(out ${CMAKE_BINARY_DIR}/extension)
  find_program(PG_CONFIG NAMES pg_config HINTS /usr/lib/postgresql/15/bin REQUIRED)
  execute_process(COMMAND ${PG_CONFIG} --includedir-server OUTPUT_VARIABLE headers OUTPUT_STRIP_TRAILING_WHITESPACE
                  COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${dir}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/extension/test/")
  add_library(vector MODULE ${sources})
  target_include_directories(vector PRIVATE ${dir})
  target_include_directories(vector SYSTEM PRIVATE ${headers})
  target_compile_options(vector PRIVATE -fno-exceptions -fno-rtti -fvisibility=hidden -fvisibility-inlines-hidden
                         -fno-threadsafe-statics -fno-strict-aliasing -fwrapv ${cairn_optimised}) # the last but one two: as PostgreSQL
  # PostgreSQL 15 leaves it empty; later ones define it just so.
  target_compile_definitions(vector PRIVATE "PGDLLEXPORT=__attribute__((visibility(\"default\")))"
                             $<$<CONFIG:Debug>:USE_ASSERT_CHECKING=1>)
  # -Bsymbolic-functions: PostgreSQL loads modules with RTLD_GLOBAL, and another one's function of the same name is not ours.
  target_link_options(vector PRIVATE -Wl,--as-needed -Wl,-Bsymbolic-functions -Wl,--exclude-libs,ALL)
  target_link_libraries(vector PRIVATE cairn_core)
  set_target_properties(vector PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${out})

  set(join ${CMAKE_SOURCE_DIR}/tools/join_sql.py)
  file(GLOB_RECURSE scripts CONFIGURE_DEPENDS ${dir}/sql/*)
  add_custom_command(OUTPUT ${out}/vector.control
                     COMMAND Python3::Interpreter ${join} ${dir} ${out}
                     DEPENDS ${join} ${dir}/vector.control ${scripts} VERBATIM)
  add_custom_target(vector_sql ALL DEPENDS ${out}/vector.control)

  cairn_deb(vector vector ${out}/vector.control)
endfunction()

# Target <name>_deb: the Debian package packaging/make_deb makes of what DEPENDS on. In dev too, for the tests of the packages.
function(cairn_deb name) # dependency...
  file(GLOB parts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/packaging/*)
  set(stamp ${CMAKE_BINARY_DIR}/${name}_deb.stamp)
  add_custom_command(OUTPUT ${stamp}
                     COMMAND ${CMAKE_SOURCE_DIR}/packaging/make_deb ${name} ${CMAKE_BINARY_DIR}
                     COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
                     DEPENDS ${ARGN} ${parts} ${CMAKE_SOURCE_DIR}/VERSION ${CMAKE_SOURCE_DIR}/CHANGELOG.md VERBATIM)
  add_custom_target(${name}_deb ALL DEPENDS ${stamp})
endfunction()
