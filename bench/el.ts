import { nodeEngine } from "../src/engine/node.ts";
import { mul, add, erf, exp, gelu, input, layerNorm, matmul, sum, transpose, sub,mean } from "../src/graph/build.ts";
import { writeOnnx } from "../src/graph/onnx.ts";
import { float32 } from "../src/core/arrays.ts";
const threads = +(process.argv[2] ?? 2);
const engine = await nodeEngine({ threads });
const N = 40;
for (const rows of [64, 256, 672, 1344, 8064]) {
  const out: string[] = [];
  for (const [name, f] of Object.entries({ mul: (x: any, y: any) => mul(x, y), gelu: (x: any) => gelu(x), exp: (x: any) => exp(x), erf: (x:any)=>erf(x), })) {
    const x0 = input("x", "float32", [rows, 512]); const y = input("y", "float32", [rows, 512]);
    let x: any = x0; for (let i = 0; i < N; i++) x = (f as any)(x, y);
    const s = await engine.session(writeOnnx({ z: sum(x, [0, 1]) }));
    const feeds = { x: float32(new Float32Array(rows * 512).fill(0.5), [rows, 512]), y: float32(new Float32Array(rows * 512).fill(1), [rows, 512]) };
    let best = 1e9; for (let i = 0; i < 12; i++) { const t = performance.now(); await s.run(name==="mul"?feeds:{x:feeds.x}); best = Math.min(best, performance.now() - t); }
    out.push(`${name} ${(best * 1e6 / N / rows / 512).toFixed(3)}`); await s.dispose();
  }
  console.log(rows, rows * 512 * 4 / 1e6 + " MB", out.join("  "));
}
