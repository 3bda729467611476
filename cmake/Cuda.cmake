# The CUDA toolkit and how kernels are compiled. REDLINE_CUDA: OFF, or ON for the toolkit of CMAKE_CUDA_COMPILER, which
# tools/build takes from tools/cuda-toolkit. REDLINE_CUDA_ARCHS: what to compile for.
set(REDLINE_CUDA_ARCHS "80;89;90;90a;120;120a" CACHE STRING "CUDA architectures: of 80 89 90 90a 120 120a")
option(REDLINE_CUDA "Build the CUDA backend" OFF)
if(NOT REDLINE_CUDA)
  return()
endif()
set(CMAKE_CUDA_ARCHITECTURES OFF)
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
# CMake 3.25 does not know that nvcc has C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA_STANDARD 20)
# CMake 3.25.1, Debian 12's, fails on a toolkit without nvToolsExt, as all of CUDA 13 are, for projects that ask for 3.25.
set(CMAKE_MINIMUM_REQUIRED_VERSION 3.24)
find_package(CUDAToolkit 13.0 REQUIRED)
set(CMAKE_MINIMUM_REQUIRED_VERSION 3.25)
# Where a program looks for cuBLASLt first; a relocatable one looks beside itself (cmake/Dist.cmake).
if(NOT REDLINE_DIST)
  list(APPEND CMAKE_BUILD_RPATH ${CUDAToolkit_LIBRARY_DIR} ${PROJECT_SOURCE_DIR}/third_party/cuda/lib)
endif()

# The -gencode options for a file, by the suffix of its name: sm80 and sm89 files are for that architecture and all newer
# ones, sm90a and sm120a files for that one alone. An `a` in REDLINE_CUDA_ARCHS stands for its plain architecture as well.
function(rl_gencode source result)
  string(REGEX MATCH "_sm([0-9]+)(a?)\\.cu$" matched ${source})
  set(least ${CMAKE_MATCH_1})
  set(only ${CMAKE_MATCH_2})
  set(options "")
  set(archs ${REDLINE_CUDA_ARCHS})
  if(only)  # also where no card asked for runs it: the program is linked with it
    set(options -gencode=arch=compute_${least}a,code=sm_${least}a)
  else()
    list(TRANSFORM archs REPLACE "a$" "")
    list(REMOVE_DUPLICATES archs)
    foreach(arch IN LISTS archs)
      if(arch GREATER_EQUAL least)
        list(APPEND options -gencode=arch=compute_${arch},code=sm_${arch})
      endif()
    endforeach()
    if("89" IN_LIST archs)
      list(APPEND options -gencode=arch=compute_89,code=compute_89)
    endif()
    if(NOT options)  # as above
      set(options -gencode=arch=compute_${least},code=sm_${least})
    endif()
  endif()
  set(${result} "${options}" PARENT_SCOPE)
endfunction()

# rl_cuda_kernels(<target> files...): a library of kernels. They include the standard library and our plain structs only,
# from src/. Spills and warnings are errors. Compression "size" makes the code of an architecture a tenth of the default's.
function(rl_cuda_kernels name)
  set(known 80 89 90 90a 120 120a)
  foreach(arch IN LISTS REDLINE_CUDA_ARCHS)
    if(NOT arch IN_LIST known)
      message(FATAL_ERROR "REDLINE_CUDA_ARCHS: ${arch} is not one of ${known}")
    endif()
  endforeach()
  foreach(source IN LISTS ARGN)
    rl_gencode(${source} gencode)
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${gencode}")
  endforeach()
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CUDA_ARCHITECTURES OFF)
  target_compile_options(${name} PRIVATE -O3 -lineinfo --compress-mode=size --expt-relaxed-constexpr -Werror=all-warnings
    -Xptxas=-warn-spills,-Werror -Xcompiler=-Wall,-Wno-unused-function,-fPIE --threads=1)
endfunction()
