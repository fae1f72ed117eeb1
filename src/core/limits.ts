/**
 * All limits on reading files. Before a reader uses memory or time, it compares the sizes that a file declares with
 * these limits and with the bytes that are actually there.
 */

const million = 1_000_000;

export const limits = {
  /** A JSON file: configurations, states, indices. */
  jsonBytes: 16 * million,
  /** A text file that accompanies images, such as annotations and class names. */
  textBytes: 64 * million,

  /** The header of a safetensors file; those of the largest published models have a few hundred kilobytes. */
  safetensorsHeaderBytes: 4 * million,
  /** Dimensions of a tensor. */
  dimensions: 32,

  /** The pickle of a checkpoint, which needs about 200 bytes per tensor. */
  pickleBytes: 16 * million,
  /** Instructions, values passed to constructors, and everything else that uses memory, added up. */
  pickleSteps: 2 * million,
  /** Python integers can have any length; random states contain some of 16 bytes. */
  integerBytes: 64,
  pickleMs: 1500,

  /** Files in an archive. */
  archiveEntries: 200_000,
  /** Data unpacked into memory at once: an entry of a zip file, or the selected files of a tar archive. */
  unpackedBytes: 200 * million,
  /** The highest compression ratio of Deflate. */
  deflateRatio: 1032,

  /** The header of a NumPy array. */
  npyHeaderBytes: 65_536,
  /** An array that is read in one piece, such as labels and statistics. */
  arrayBytes: 64 * million,

  /** A pickled batch of images; those of ImageNet32 have 393 MB. */
  batchBytes: 512 * million,

  /** Pixels of one picture. */
  pixels: 1 << 26,
  /** Memory for decoding and cropping pictures, of all that are decoded at the same time. */
  decodingBytes: 360 * million,
  /** One image of an array. */
  arrayImageBytes: 100 * million,
  /** The file of a picture. */
  pictureBytes: 256 * million,
  pictureSeconds: 30,

  /** A page of a Parquet file, unpacked. */
  parquetPageBytes: 256 * million,
  parquetFooterBytes: 64 * million,
  /**
   * Computing time allowed for a call of the Parquet decoder: this much, plus the same again for each megabyte it
   * reads.
   */
  parquetMs: 600,

  /** Depth of a folder, and the number of files in it. */
  folderDepth: 32,
  folderFiles: 50 * million,

  classes: 65_536,
  className: 1000,
  /** Approximate number of parameters of a model. */
  parameters: 100_000 * million,
} as const;
