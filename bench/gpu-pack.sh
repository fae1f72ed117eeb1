#!/bin/sh
# Packs `npm run bench -- gpu` with Node and the packages it needs into one archive for a Linux x64 machine without
# network, such as a cluster's node: bench/gpu-pack.sh [archive]
# There: tar xf fractalgen-gpu.tar.xz && fractalgen-gpu/run [options of the benchmark]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
archive=${1:-fractalgen-gpu.tar.xz}
limit=60000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
pack=$work/fractalgen-gpu
modules=$root/node_modules
binaries=bin/napi-v6/linux/x64
node=$(node -p process.execPath)

if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "this packs the binaries of Linux x64, so it must run there, not on $(uname -sm)" >&2
  exit 2
fi
if ldd "$node" 2>/dev/null | grep -q libnode; then
  echo "$node needs libnode, which the other machine may lack; use a Node from nodejs.org" >&2
  exit 2
fi

mkdir -p "$pack/node_modules/onnxruntime-node/$binaries" "$pack/node_modules/onnxruntime-common" "$pack/lib"
"$modules/.bin/esbuild" "$root/bench/gpu-packed.ts" --bundle --platform=node --format=esm --target=node20 \
  --external:onnxruntime-node --outfile="$pack/gpu.mjs" --log-level=warning \
  --banner:js='import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
cp "$modules/onnxruntime-node/package.json" "$pack/node_modules/onnxruntime-node/"
cp -r "$modules/onnxruntime-node/dist" "$pack/node_modules/onnxruntime-node/"
# Only what WebGPU needs: an installation with CUDA has hundreds of megabytes more.
for file in libonnxruntime.so.1 onnxruntime_binding.node; do
  cp -L "$modules/onnxruntime-node/$binaries/$file" "$pack/node_modules/onnxruntime-node/$binaries/"
done
cp "$modules/onnxruntime-common/package.json" "$pack/node_modules/onnxruntime-common/"
cp -r "$modules/onnxruntime-common/dist" "$pack/node_modules/onnxruntime-common/"
find "$pack" \( -name '*.map' -o -name '*.d.ts' \) -delete
cp "$node" "$pack/node"
strip "$pack/node" 2>/dev/null || true # saves a few megabytes where binutils are installed
(cd "$pack" && ./node -e 'require("onnxruntime-node").listSupportedBackends()') # must load what was packed
# The Vulkan loader, which drivers in containers often come without.
loader=$(ldconfig -p 2>/dev/null | sed -n 's/.*libvulkan\.so\.1 .*x86-64.*=> //p' | head -n 1)
[ -z "$loader" ] || cp -L "$loader" "$pack/lib/libvulkan.so.1"
# Descriptions of NVIDIA's driver, which containers often lack.
for driver in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do
  printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}' "$driver" > "$pack/lib/$driver.json"
done

cat > "$pack/run" <<'RUN'
#!/bin/sh
# Runs the benchmark, with the packed Vulkan loader if this machine has none.
here=$(cd "$(dirname "$0")" && pwd)
libraries=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null || true)
case $libraries in
  *libvulkan.so.1*) ;;
  *) export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/lib" ;;
esac
# NVIDIA's driver without its Vulkan description, as in many containers.
described=
for file in /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; do
  [ ! -e "$file" ] || described=yes
done
if [ -z "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}$described" ]; then
  for driver in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do
    case $libraries in
      *"$driver"*)
        export VK_ICD_FILENAMES="$here/lib/$driver.json" VK_DRIVER_FILES="$here/lib/$driver.json"
        break
        ;;
    esac
  done
fi
exec "$here/node" "$here/gpu.mjs" "$@"
RUN
chmod +x "$pack/run"

tar -C "$work" -cf - fractalgen-gpu | xz -6 -T1 > "$work/archive"
size=$(wc -c < "$work/archive")
if [ "$size" -gt "$limit" ]; then
  echo "the archive would take $size bytes, more than $limit" >&2
  exit 1
fi
mv "$work/archive" "$archive"
echo "$archive: $size bytes"
echo "there: tar xf $(basename "$archive") && fractalgen-gpu/run"
echo "the published code on the same GPU, with PyTorch: python bench/published-gpu.py CLONE (CLONE is a clone of github.com/LTH14/fractalgen)"
