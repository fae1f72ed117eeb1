/**
 * What reading may take: the one place that says so. Every reader compares what a file declares with these, and with the
 * bytes that are there, before it takes memory or time.
 */

const million = 1_000_000;

export const limits = {
  /** A JSON file: configurations, states, indices. */
  jsonBytes: 16 * million,
  /** A text file beside images, such as annotations and class names. */
  textBytes: 64 * million,

  /** The header of a safetensors file; that of the largest published models has a few hundred kilobytes. */
  safetensorsHeaderBytes: 16 * million,
  /** Sizes of a tensor. */
  dimensions: 32,

  /** The pickle of a checkpoint; a tensor takes about 200 bytes of it. */
  pickleBytes: 16 * million,
  /** Instructions, plus values handed to constructors, plus what else takes memory. */
  pickleSteps: 2 * million,
  /** Python's integers have any length; random states hold some of 16 bytes. */
  integerBytes: 64,
  pickleMs: 1500,

  /** Files in an archive. */
  archiveEntries: 200_000,
  /** What is unpacked into memory at once: of a zip an entry, of a tar the files that are wanted. */
  unpackedBytes: 200 * million,
  /** Deflate shrinks to a 1032nd at most. */
  deflateRatio: 1032,

  /** The header of a NumPy array. */
  npyHeaderBytes: 65_536,
  /** An array that is read whole, such as labels and statistics. */
  arrayBytes: 64 * million,

  /** A pickled batch of images; ImageNet32's have 393 MB. */
  batchBytes: 512 * million,

  /** Pixels of one picture in colour, and of all that are decoded at the same time; fewer with alpha, and fewest in floats. */
  pixels: 1 << 26,
  /** A picture's file. */
  pictureBytes: 256 * million,
  pictureSeconds: 30,

  /** A page of a Parquet file, unpacked. */
  parquetPageBytes: 256 * million,
  parquetFooterBytes: 64 * million,
  /** Computing that a call of the Parquet decoder may take: this, and as much again for each megabyte that it reads. */
  parquetMs: 600,

  /** Of a folder: how deep, and how many files. */
  folderDepth: 32,
  folderFiles: 50 * million,

  classes: 65_536,
  className: 1000,
  /** Parameters of a model, counted roughly. */
  parameters: 100_000 * million,
} as const;
