# What `cmake --install` puts where: libraries, public headers, CMake package files, pkg-config files. Included by the top
# CMakeLists.txt. Every file is found relative to its own place, so that the installed tree can be moved.
include(CMakePackageConfigHelpers)

# Before 1.0 a minor version may change the binary interface.
set(chronolith_soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(chronolith_header_dir ${PROJECT_SOURCE_DIR}/include)
set(chronolith_headers engine_registry.h env.h export.h kv_engine.h labels.h log_archiver.h options.h result.h series_set.h stats.h
  status.h storage.h types.h)
list(TRANSFORM chronolith_headers PREPEND ${chronolith_header_dir}/chronolith/)
set(chronolith_metrics_headers ${chronolith_header_dir}/chronolith/metrics.h)

foreach(library chronolith chronolith_metrics)
  set_target_properties(${library} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${chronolith_soversion}
    VERIFY_INTERFACE_HEADER_SETS ON)
  target_compile_features(${library} INTERFACE cxx_std_20)
  target_sources(${library} INTERFACE FILE_SET HEADERS BASE_DIRS ${chronolith_header_dir} FILES ${${library}_headers})
  if(NOT CHRONOLITH_SANITIZE)  # the sanitizers' runtimes come with the program
    target_link_options(${library} PRIVATE LINKER:-z,defs)
  endif()
endforeach()
set_target_properties(chronolith_metrics PROPERTIES EXPORT_NAME metrics)
target_link_libraries(chronolith_metrics INTERFACE $<INSTALL_INTERFACE:chronolith::chronolith>)

install(TARGETS chronolith chronolith_metrics EXPORT chronolithTargets COMPONENT library FILE_SET HEADERS COMPONENT library)
set(chronolith_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/chronolith)
install(EXPORT chronolithTargets NAMESPACE chronolith:: DESTINATION ${chronolith_cmake_dir} COMPONENT library)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/chronolithConfig.cmake.in ${PROJECT_BINARY_DIR}/chronolithConfig.cmake
  INSTALL_DESTINATION ${chronolith_cmake_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/chronolithConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/chronolithConfig.cmake ${PROJECT_BINARY_DIR}/chronolithConfigVersion.cmake
  DESTINATION ${chronolith_cmake_dir} COMPONENT library)

# From <prefix>/<libdir>/pkgconfig back to <prefix>.
file(RELATIVE_PATH chronolith_pc_to_prefix ${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(pc chronolith chronolith-metrics)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${pc}.pc.in ${PROJECT_BINARY_DIR}/${pc}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
endforeach()

if(PROJECT_IS_TOP_LEVEL)
  # Each public header compiles alone.
  add_custom_target(public_headers_alone ALL)
  add_dependencies(public_headers_alone all_verify_interface_header_sets)
endif()
