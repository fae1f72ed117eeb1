/** The addresses of published weights, which are defined only here. Knows nothing of downloading. */

import type { PublishedName } from "./published.ts";

export interface PublishedCheckpoint {
  url: string;
  /** Its name on disk, as published. */
  file: string;
  /**
   * In hexadecimal digits. If none is published, the checksum of the first download is recorded and later reads are
   * checked against it.
   */
  sha256?: string;
}

/**
 * From the README of github.com/LTH14/fractalgen. Its links end in `dl=0`, which opens a page in a browser; `dl=1` is
 * Dropbox's form for the file itself, and `rlkey` grants access. A withdrawn link returns a page, which the download
 * rejects.
 */
export const publishedCheckpoints: Record<PublishedName, PublishedCheckpoint> = {
  fractalar_in64: dropbox("n25tbij7aqkwo1ypqhz72", "rlkey=2czevgex3ocg2ae8zde3xpb3f&st=mj0subup"), // 1.77 GB
  fractalmar_in64: dropbox("lh7fmv48pusujd6m4kcdn", "rlkey=huihey61ok32h28o3tbbq6ek9&st=fxtoawba"), // 1.73 GB
  fractalmar_base_in256: dropbox("zrdm7853ih4tcv98wmzhe", "rlkey=htq9yuzovet7d6ioa64s1xxd0&st=4c4d93vs"), // 0.75 GB
  fractalmar_large_in256: dropbox("y1k05xx7ry8521ckxkqgt", "rlkey=wolq4krdq7z7eyjnaw5ndhq6k&st=vjeu5uzo"), // 1.75 GB
  fractalmar_huge_in256: dropbox("t2rru8xr6wm23yvxskpww", "rlkey=dn9ss9zw4zsnckf6bat9hss6h&st=y7w921zo"), // 3.40 GB
};

/**
 * The Inception-v3 network of FID as published by torch-fidelity, 96 MB; the file name ends in the first digits of the
 * checksum.
 */
export const publishedInception: PublishedCheckpoint & { sha256: string } = {
  url: "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
  file: "weights-inception-2015-12-05-6726825d.pth",
  sha256: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
};

function dropbox(id: string, access: string): PublishedCheckpoint {
  const file = "checkpoint-last.pth";
  return { file, url: `https://www.dropbox.com/scl/fi/${id}/${file}?${access}&dl=1` };
}
