"""Times sampling with the published code of FractalMAR-64 on PyTorch, with random weights and the settings of its demo.

    git clone https://github.com/LTH14/fractalgen
    pip install torch torchvision timm==0.9.12 scipy
    python bench/published-gpu.py fractalgen

Prints one line of JSON: seconds per image for each precision and batch, after a warm-up. `npm run bench -- gpu` measures
our code on the same GPU.
"""

import argparse
import contextlib
import io
import json
import sys
import time

import torch


def numbers(text):
    return [int(number) for number in text.split(",")]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("clone", help="folder of the published repository")
parser.add_argument("--batch", type=numbers, default=[8, 1, 64], help="images at once (default: 8,1,64)")
parser.add_argument("--iterations", type=numbers, default=[64, 16], help="steps of each level (default: 64,16)")
parser.add_argument("--precision", default="float32,float16,bfloat16", help="which to measure (default: all three)")
parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu only tests this script")
options = parser.parse_args()

types = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}
precisions = options.precision.split(",")
if not set(precisions) <= set(types):
    parser.error(f"--precision: expected some of {', '.join(types)}, got {options.precision}")
if options.device == "cuda" and not torch.cuda.is_available():
    parser.error("PyTorch finds no GPU; --device cpu tests this script")
sys.path.insert(0, options.clone)
try:
    from models import fractalgen
except ImportError as error:
    parser.error(f"{options.clone}: cannot import its models: {error}")
if options.device == "cpu":
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor  # the published code moves its tensors itself

torch.manual_seed(0)
model = fractalgen.fractalmar_in64(guiding_pixel=False, num_conds=5).to(options.device).eval()


def sampled(batch, dtype, iterations):
    """Draws a batch with guidance 5 and returns its seconds."""
    labels = torch.arange(batch, device=options.device) % 1000
    embedding = torch.cat([model.class_emb(labels), model.fake_latent.repeat(batch, 1)])
    autocast = torch.autocast(options.device, dtype=dtype) if dtype else contextlib.nullcontext()
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    with torch.no_grad(), autocast, contextlib.redirect_stdout(io.StringIO()):
        model.sample(
            cond_list=[embedding] * 5,
            num_iter_list=iterations,
            cfg=5,
            cfg_schedule="constant",
            temperature=1.02,
            filter_threshold=1e-4,
            fractal_level=0,
        )
    wait()
    return time.perf_counter() - started


results = []
for precision in precisions:
    for batch in options.batch:
        result = {"precision": precision, "batch": batch}
        try:
            sampled(batch, types[precision], [1, 1])
            result["secondsPerImage"] = sampled(batch, types[precision], options.iterations) / batch
        except RuntimeError as error:  # too little memory, or a type that the device does not have
            result["problem"] = str(error).split("\n")[0]
        print(result, file=sys.stderr)
        results.append(result)
name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
print(json.dumps({"device": name, "torch": torch.__version__, "iterations": options.iterations, "results": results}))
