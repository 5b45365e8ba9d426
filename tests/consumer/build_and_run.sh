#!/usr/bin/env bash
# build_and_run.sh WAY BUILD_DIR WORK_DIR LIBDIR COMPILER: see CMakeLists.txt. WAY is cmake or pkg_config.
set -euo pipefail
way=$1 build=$2 work=$3 libdir=$4 compiler=$5
project=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/project
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/first" --component library >"$work/install.log"
# The installed tree may be moved: nothing in it names the place it was installed to.
mv "$work/first" "$work/prefix"
if grep -rIl "$work/first\|$build" "$work/prefix"; then
  echo "error: these installed files name the build machine's paths"
  exit 1
fi

case $way in
  cmake)
    cmake -S "$project" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_COMPILER="$compiler" \
      -DCMAKE_BUILD_TYPE=Release
    cmake --build "$work/build"
    "$work/build/consumer" "$work/db"
    ;;
  pkg_config)
    export PKG_CONFIG_PATH=$work/prefix/$libdir/pkgconfig
    read -ra flags < <(pkg-config --cflags --libs chronolith-metrics)
    "$compiler" -std=c++20 -O1 -o "$work/consumer" "$project/consumer.cc" "${flags[@]}"
    LD_LIBRARY_PATH=$work/prefix/$libdir "$work/consumer" "$work/db"
    ;;
  *)
    echo "error: unknown way '$way'"
    exit 1
    ;;
esac
