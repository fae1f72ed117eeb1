/**
 * The classes and functions that a PyTorch checkpoint may name in its pickle, and the plain data made from them. Knows
 * nothing of files.
 */

import { product, type DType } from "../core/arrays.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { Namespace, Opaque, PickleError, PickleGlobal } from "./pickle.ts";
import { TensorRef } from "./tensors.ts";
import { spanOf, type StorageType, storageTypes } from "./torch-storage.ts";

export const damaged = "the file is damaged or incomplete, so download it again";

/** Values that several tensors may share; `Place` says where they are stored. */
export interface Storage<Place> {
  place: Place;
  type: StorageType;
  elements: number;
}

/** A storage that the pickle refers to. It is a class so that no list in a pickle can pass for one. */
export class StorageRef<Place> {
  readonly storage: Storage<Place>;
  constructor(storage: Storage<Place>) {
    this.storage = storage;
  }
}

/** A strided tensor in a storage. */
export class TorchTensor<Place = unknown> extends TensorRef {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly storage: Storage<Place>;
  readonly offset: number;
  readonly stride: readonly number[];
  constructor(storage: Storage<Place>, at: { offset: number; shape: readonly number[]; stride: readonly number[] }) {
    super();
    this.dtype = storage.type.dtype;
    this.shape = at.shape;
    this.storage = storage;
    this.offset = at.offset;
    this.stride = at.stride;
  }
}

/**
 * Returns the storage that a persistent ID refers to: ("storage", type, key, device, elements). `find` returns the
 * place of a key. An unknown type becomes an opaque value.
 */
export function storageOf<Place>(id: unknown, find: (key: string, bytes: number) => Place): StorageRef<Place> | Opaque {
  const [kind, global, key, , elements] = Array.isArray(id) ? id : [];
  if (kind === "storage" && global instanceof Opaque) return global;
  const type = global instanceof PickleGlobal ? storageTypes.get(global.name) : undefined;
  if (kind !== "storage" || !type || typeof key !== "string" || !isSize(elements))
    throw new PickleError(`its pickle has a storage reference that PyTorch does not write; ${damaged}`);
  return new StorageRef({ place: find(key, elements * type.bytes), type, elements });
}

function rebuildTensor([ref, offset, shape, stride]: readonly unknown[]): TorchTensor | Opaque {
  if (ref instanceof Opaque) return ref;
  if (
    !(ref instanceof StorageRef) ||
    !isSize(offset) ||
    !isSizes(shape) ||
    !isSizes(stride) ||
    shape.length !== stride.length
  )
    throw new PickleError(`its pickle has a tensor description that PyTorch does not write; ${damaged}`);
  const { storage } = ref;
  const sizes = `a tensor of shape ${shown(shape)}`;
  if (offset + spanOf(shape, stride) > storage.elements)
    throw new PickleError(`${sizes} reaches past the ${storage.elements} values of its storage; ${damaged}`);
  // An expanded tensor (stride 0) may be larger than its storage, but not so large that reading it exhausts memory.
  if (product(shape) > Math.max(storage.elements, 1 << 24))
    throw new PickleError(
      `${sizes} repeats its ${storage.elements} stored values too often for a checkpoint; save it with .contiguous()`,
    );
  return new TorchTensor(storage, { offset, shape: [...shape], stride: [...stride] });
}

const orderedDict = new PickleGlobal("collections.OrderedDict", ([items = []]) => {
  if (!Array.isArray(items) || !items.every((item) => Array.isArray(item) && item.length === 2))
    throw new PickleError(`its pickle has an OrderedDict that is not a list of pairs; ${damaged}`);
  return new Map(items as [unknown, unknown][]);
});
const set = (name: string) => new PickleGlobal(name, ([items]) => new Set(Array.isArray(items) ? items : []));
/** A tensor subclass, or a tensor with attributes: the function that makes the tensor, and its arguments. */
const fromType = new PickleGlobal("torch._tensor._rebuild_from_type_v2", ([make, , args]) =>
  make instanceof PickleGlobal && Array.isArray(args) ? make.make(args) : new Opaque("torch.Tensor"),
);

const known: ReadonlyMap<string, PickleGlobal> = new Map(
  [
    orderedDict,
    fromType,
    set("builtins.set"),
    set("__builtin__.set"),
    new PickleGlobal("collections.defaultdict", () => new Map()),
    new PickleGlobal("argparse.Namespace", () => new Namespace()),
    new PickleGlobal("torch.Size", ([sizes]) => (Array.isArray(sizes) ? [...sizes] : [])),
    new PickleGlobal("torch._utils._rebuild_tensor_v2", rebuildTensor),
    new PickleGlobal("torch._utils._rebuild_parameter", ([tensor]) => tensor),
    new PickleGlobal("torch._utils._rebuild_parameter_with_state", ([tensor]) => tensor),
    ...[...storageTypes.keys()].map(
      (name) =>
        new PickleGlobal(name, () => {
          throw new PickleError(`its pickle constructs a ${name}, which PyTorch never writes; ${damaged}`);
        }),
    ),
  ].map((item) => [item.name, item]),
);

/** The class with this name. Anything not listed here becomes an opaque value, and none of its code ever runs. */
export const torchClass = (name: string): PickleGlobal | Opaque => known.get(name) ?? new Opaque(shown(name));

export const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

export const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length <= limits.dimensions && value.every(isSize);

/** Whether a view spans far more values than it has; reading it would load everything in between. */
export const spansTooMuch = ({ shape, stride }: TorchTensor): boolean =>
  spanOf(shape, stride) > Math.max(1 << 24, 64 * product(shape));
