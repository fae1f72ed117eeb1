/** The studio's check of a device, with CPU engines that stand for a GPU. */

import { fromBinary } from "@bufbuild/protobuf";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ModelProtoSchema, TensorProto_DataType } from "onnx-buf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import type { DeviceTensor, HostTensor } from "../core/arrays.ts";
import type { Engine, Session } from "../engine/engine.ts";
import { nodeEngine } from "../engine/node.ts";
import { type ExternalModel, externalModel } from "../files/external.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import type { OnnxModel } from "../graph/onnx.ts";
import { startingState } from "../train/state.ts";
import { selfCheck } from "./self-check.ts";

const cpu = await nodeEngine({ threads: 1 });
const small = { width: 16, depth: 2, heads: 2 };
const config = parseModelConfig(
  {
    imageSize: 8,
    classes: ["dark", "light"],
    levels: [
      { kind: "mar", patch: 4, ...small },
      { kind: "ar", patch: 1, ...small },
      { kind: "pixel", ...small },
    ],
  },
  "the test",
);
const scratch = mkdtempSync(join(tmpdir(), "fractalgen-check-"));
let model: ExternalModel;
beforeAll(async () => {
  await writeModelFolder(scratch, config, startingState(config, 3, { ema: 0 }).values);
  model = externalModel(readModelFolder(scratch));
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** A CPU engine that records models and kept runs, and may change what it keeps. */
function watched(about: Pick<Engine, "provider" | "precision">, spoil?: (kept: DeviceTensor) => void) {
  const models: OnnxModel[] = [];
  const count = { kept: 0, freed: 0 };
  const engine: Engine = {
    ...about,
    async session(written, options): Promise<Session> {
      models.push(written);
      const session = await cpu.session(written, options);
      return {
        ...session,
        async runKept(feeds) {
          const found = await session.runKept(feeds);
          for (const tensor of Object.values(found.kept)) {
            count.kept++;
            spoil?.(tensor);
            const { dispose } = tensor;
            tensor.dispose = () => {
              count.freed++;
              dispose();
            };
          }
          return found;
        },
      };
    },
  };
  return { engine, models, count };
}

/** Whether a model casts anything to float16. */
const casts = ({ bytes }: OnnxModel): boolean =>
  fromBinary(ModelProtoSchema, bytes).graph!.node.some(
    ({ opType, attribute }) =>
      opType === "Cast" && attribute.some(({ name, i }) => name === "to" && i === BigInt(TensorProto_DataType.FLOAT16)),
  );

it("runs every graph as it is written for the device, and in the reference's form on the reference", async () => {
  const reference = watched({ provider: "cpu" });
  const other = watched({ provider: "webgpu", precision: "float16" });
  const found = await selfCheck(reference.engine, other.engine, model);
  expect(found.agrees).toBe(true);
  expect(found.bytes).toBeGreaterThan(0);
  expect(other.models.length).toBe(reference.models.length);
  // All but the one that copies to the host multiply matrices.
  expect(other.models.filter((written) => !casts(written))).toHaveLength(1);
  expect(reference.models.some(casts)).toBe(false);
  // Runs return a key and a value for each of two blocks, all of which are freed.
  for (const { count } of [reference, other]) {
    expect(count.kept).toBeGreaterThanOrEqual(4 * 4);
    expect(count.freed).toBe(count.kept);
  }
});

it("sees a device that spoils what it keeps between the steps of an AR level", async () => {
  const reference = watched({ provider: "cpu" });
  const spoilt = watched({ provider: "webgpu" }, ({ held }) => ((held as HostTensor).data as Float32Array).fill(100));
  expect((await selfCheck(reference.engine, spoilt.engine, model)).agrees).toBe(false);
});
