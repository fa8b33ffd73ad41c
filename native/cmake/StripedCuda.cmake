# The CUDA backend as a library of its own. cuBLASLt and cuDNN are found at run time (library_loader.h).
set(CMAKE_CUDA_COMPILER "${STRIPED_NVCC}")
set(CMAKE_CUDA_ARCHITECTURES OFF)
set(CMAKE_CUDA_STANDARD 20)
enable_language(CUDA)
# CMake before 3.26 does not know that nvcc has C++20.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
find_package(CUDAToolkit REQUIRED)

file(GLOB STRIPED_CUDA_SOURCES CONFIGURE_DEPENDS src/cuda/*.cu src/cuda/*.cpp)
add_library(striped_cuda STATIC ${STRIPED_CUDA_SOURCES})
target_include_directories(striped_cuda PUBLIC include PRIVATE src)
target_link_libraries(striped_cuda PRIVATE striped_options CUDA::cudart_static ${CMAKE_DL_LIBS})
# The two libraries use each other: the core makes the backend, whose base class the core defines.
target_link_libraries(striped_cuda INTERFACE striped_core)
# What every CUDA source of the engine is compiled with.
function(striped_cuda_flags target)
  foreach(architecture IN LISTS STRIPED_CUDA_ARCHITECTURES)
    target_compile_options(${target} PRIVATE
      "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-gencode=arch=compute_${architecture},code=sm_${architecture}>")
  endforeach()
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
endfunction()
striped_cuda_flags(striped_cuda)
