# cmake -DPROGRAM=... -DWORK=... -P run_example.cmake: runs PROGRAM twice in the new folder WORK, as a reader would: the second run
# finds what the first one stored. What it prints is what README.md says it prints.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
foreach(run 1 2)
  execute_process(COMMAND ${PROGRAM} WORKING_DIRECTORY ${WORK} OUTPUT_VARIABLE out ERROR_VARIABLE err RESULT_VARIABLE code)
  if(NOT code EQUAL 0 OR NOT out MATCHES "^temperature{room=\"kitchen\"} 21\\.5\n$")
    message(FATAL_ERROR "run ${run}: exit code ${code}, printed:\n${out}${err}")
  endif()
endforeach()
