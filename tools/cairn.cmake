# How Cairn's modules become targets. A module is a folder server/<name>:
#   *.cpp                        library cairn_<name> (all but the kinds below)
#   *_test.cpp                   program <name>_test: needs no database
#   *_pgtest.cpp                 program <name>_pgtest: makes its own databases, may use `schema` too
#   *_fuzz.cpp                   one libFuzzer program each, named as the file (with CAIRN_FUZZ); of the server it links
#                                what its lines `// needs: base/json.cpp ...` name, so that few objects are instrumented
#   main.cpp                     the binary
# All are found by globs that every build checks again, so no file can be orphaned; a folder may be empty or missing.
include_guard()

file(WRITE ${CMAKE_BINARY_DIR}/generated/empty.cpp "")

function(cairn_module name)
  cmake_parse_arguments(arg "" "" "DEPENDS" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/server/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "(_test|_pgtest|_fuzz|/main)\\.cpp$")
  if(NOT sources)
    set(sources ${CMAKE_BINARY_DIR}/generated/empty.cpp)
  endif()
  add_library(cairn_${name} STATIC ${sources})
  target_include_directories(cairn_${name} PUBLIC ${CMAKE_SOURCE_DIR}/server ${CMAKE_BINARY_DIR}/generated)
  list(TRANSFORM arg_DEPENDS PREPEND cairn_)
  target_link_libraries(cairn_${name} PUBLIC ${arg_DEPENDS})

  if(CAIRN_TESTS)
    cairn_test(${name}_test "${dir}/*_test.cpp" cairn_${name})
    # A test with a database wants the tables in it, which are made by a module that its own need not know.
    cairn_test(${name}_pgtest "${dir}/*_pgtest.cpp" cairn_${name} cairn_schema)
  endif()
  if(CAIRN_FUZZ)
    file(GLOB fuzzers CONFIGURE_DEPENDS ${dir}/*_fuzz.cpp)
    foreach(source ${fuzzers})
      get_filename_component(fuzzer ${source} NAME_WE)
      file(STRINGS ${source} needs REGEX "^// needs: ")
      set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
      list(TRANSFORM needs REPLACE "^// needs: +" "")
      list(JOIN needs " " needs)
      separate_arguments(needs)
      list(TRANSFORM needs PREPEND ${CMAKE_SOURCE_DIR}/server/)
      add_executable(${fuzzer} ${source} ${needs})
      target_include_directories(${fuzzer} PRIVATE ${CMAKE_SOURCE_DIR}/server)
      target_link_libraries(${fuzzer} PRIVATE Threads::Threads simdjson::simdjson OpenSSL::Crypto spdlog::spdlog Boost::headers
                            PkgConfig::libpq)
      target_link_options(${fuzzer} PRIVATE -fsanitize=fuzzer)
      add_dependencies(fuzzers ${fuzzer})
    endforeach()
  endif()
endfunction()

function(cairn_test program pattern) # library...
  file(GLOB sources CONFIGURE_DEPENDS ${pattern})
  if(sources)
    add_executable(${program} ${sources})
    target_link_libraries(${program} PRIVATE ${ARGN} GTest::gtest GTest::gtest_main)
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
