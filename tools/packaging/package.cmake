# What `cpack` makes of the component tools: the Debian package `chronolith`. Included by the top CMakeLists.txt.
set(CHRONOLITH_PACKAGE_MAINTAINER "Chronolith maintainers <maintainers@chronolith.invalid>" CACHE STRING "Maintainer of the Debian package")
set(debian ${CMAKE_CURRENT_LIST_DIR}/debian)

# For the package only: `cmake --install` does not touch /etc, nor the units of the machine.
configure_file(${debian}/changelog.in ${PROJECT_BINARY_DIR}/debian/changelog @ONLY)
install(FILES ${debian}/copyright ${PROJECT_BINARY_DIR}/debian/changelog DESTINATION ${CMAKE_INSTALL_DOCDIR}
  COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${debian}/chronolithd.default DESTINATION /etc/default RENAME chronolithd COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${PROJECT_SOURCE_DIR}/tools/chronolithd/chronolithd.service DESTINATION /lib/systemd/system
  COMPONENT package EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${debian}/stage.cmake)
set(CPACK_COMPONENTS_ALL tools package)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_NAME chronolith)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${CHRONOLITH_PACKAGE_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "time-series store: server and command line")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Chronolith keeps samples of time series in RocksDB, in shards that are
written, read and recovered beside one another. Its server chronolithd takes
Prometheus remote write and OpenTelemetry's OTLP, and answers Prometheus
remote read; its command line chronolith imports, exports, verifies, backs up
and restores, most of it beside the server.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, procps")  # procps: kill, by which the unit reloads
set(CPACK_DEBIAN_PACKAGE_SUGGESTS prometheus)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${debian}/conffiles ${debian}/postinst ${debian}/postrm ${debian}/prerm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
