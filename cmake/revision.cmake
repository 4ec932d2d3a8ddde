# SPDX-License-Identifier: Apache-2.0
# The git revision goes into a header that changes only when the revision does.
set(SLUICE_REVISION_HEADER ${CMAKE_BINARY_DIR}/generated/sluice_revision.h)
add_custom_target(sluice_revision
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DHEADER=${SLUICE_REVISION_HEADER} -P ${CMAKE_SOURCE_DIR}/cmake/write_revision.cmake
  BYPRODUCTS ${SLUICE_REVISION_HEADER} COMMENT "")
