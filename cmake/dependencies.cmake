# SPDX-License-Identifier: Apache-2.0
# What must be there stops the configuration with the Debian package to install; what may be there is found or left out.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

function(sluice_require variable module package)
  pkg_check_modules(${variable} IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${variable}_FOUND)
    message(FATAL_ERROR "${module} is missing: apt-get install ${package}  (or run host/quickstart.sh, which installs everything)")
  endif()
endfunction()

sluice_require(PCRE2 libpcre2-8 libpcre2-dev)
sluice_require(UTF8PROC libutf8proc libutf8proc-dev)
sluice_require(LIBEVENT "libevent >= 2.1;libevent_pthreads;libevent_openssl" libevent-dev)
sluice_require(OPENSSL "openssl >= 3.0" libssl-dev)
sluice_require(JANSSON "jansson >= 2.13" libjansson-dev)
sluice_require(SODIUM libsodium libsodium-dev)
sluice_require(INIH inih libinih-dev)
sluice_require(XXHASH "libxxhash >= 0.8" libxxhash-dev)
sluice_require(PCI "libpci >= 3.5" libpci-dev)

# Optional: cmocka decides whether tests are built unless SLUICE_TESTS says so.
pkg_check_modules(CMOCKA QUIET IMPORTED_TARGET GLOBAL cmocka)

# Optional backends: found here so that the summary can say what a machine lacks.
pkg_check_modules(OPENCL QUIET IMPORTED_TARGET GLOBAL OpenCL)
# Left out of sanitizer builds unless asked for: drivers are not instrumented, and their leaks and races would be reported.
set(opencl_default ${OPENCL_FOUND})
if(SLUICE_SANITIZE)
  set(opencl_default OFF)
endif()
option(SLUICE_OPENCL "build the OpenCL backend (needs the ICD loader and its headers)" ${opencl_default})
if(SLUICE_OPENCL AND NOT OPENCL_FOUND)
  message(FATAL_ERROR "OpenCL is missing: apt-get install ocl-icd-opencl-dev opencl-headers")
endif()
find_path(XRT_INCLUDE_DIR xrt/xrt_device.h PATHS /opt/xilinx/xrt/include PATH_SUFFIXES xrt)
find_path(UUID_INCLUDE_DIR uuid/uuid.h) # which XRT's headers include
set(xrt_default OFF)
if(XRT_INCLUDE_DIR AND UUID_INCLUDE_DIR)
  set(xrt_default ON)
endif()
option(SLUICE_XRT "build the XRT backend (needs XRT's headers)" ${xrt_default})
if(SLUICE_XRT AND NOT (XRT_INCLUDE_DIR AND UUID_INCLUDE_DIR))
  message(FATAL_ERROR "XRT's headers are missing: apt-get install libxrt-dev uuid-dev, or AMD's xrt package and uuid-dev")
endif()
