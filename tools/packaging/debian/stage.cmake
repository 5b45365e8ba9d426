# Run by cpack between installing into its own directory and packing that: what Debian wants otherwise than CMake installs it.
file(GLOB_RECURSE texts ${CPACK_TEMPORARY_DIRECTORY}/*/usr/share/man/* ${CPACK_TEMPORARY_DIRECTORY}/*/usr/share/doc/chronolith/changelog)
execute_process(COMMAND gzip -9n ${texts} COMMAND_ERROR_IS_FATAL ANY)
# Where Debian's zsh looks.
file(GLOB functions ${CPACK_TEMPORARY_DIRECTORY}/*/usr/share/zsh/site-functions)
foreach(directory IN LISTS functions)
  get_filename_component(zsh ${directory} DIRECTORY)
  file(RENAME ${directory} ${zsh}/vendor-completions)
endforeach()
