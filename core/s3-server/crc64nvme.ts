/**
 * CRC-64/NVME (NVM Express NVM command set specification, section 5.2.1.3.4; reflected polynomial
 * 0x9A6C9329AC4BC9B5, initial value and final XOR all ones), eight bytes a step. JavaScript has no fast 64-bit
 * integer, so that the register and the tables are pairs of 32-bit halves.
 */

const POLYNOMIAL_HIGH = 0x9a6c9329;
const POLYNOMIAL_LOW = 0xac4bc9b5;

/** Entry 256 × k + b: the CRC of byte b followed by k zero bytes. */
const HIGH = new Int32Array(8 * 256);
const LOW = new Int32Array(8 * 256);

for (let byte = 0; byte < 256; byte++) {
  let high = 0;
  let low = byte;
  for (let bit = 0; bit < 8; bit++) {
    const odd = low & 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (odd) {
      high ^= POLYNOMIAL_HIGH;
      low ^= POLYNOMIAL_LOW;
    }
  }
  HIGH[byte] = high;
  LOW[byte] = low;
}
for (let i = 256; i < HIGH.length; i++) {
  const high = HIGH[i - 256]!;
  const low = LOW[i - 256]!;
  HIGH[i] = (high >>> 8) ^ HIGH[low & 0xff]!;
  LOW[i] = ((low >>> 8) | (high << 24)) ^ LOW[low & 0xff]!;
}

/** A running CRC-64/NVME. */
export class Crc64Nvme {
  #high = -1;
  #low = -1;

  update(data: Uint8Array): this {
    const h = HIGH;
    const l = LOW;
    const end = data.length;
    let high = this.#high;
    let low = this.#low;
    let i = 0;
    for (; i + 8 <= end; i += 8) {
      low ^= data[i]! | (data[i + 1]! << 8) | (data[i + 2]! << 16) | (data[i + 3]! << 24);
      high ^= data[i + 4]! | (data[i + 5]! << 8) | (data[i + 6]! << 16) | (data[i + 7]! << 24);
      const a = 1792 + (low & 0xff);
      const b = 1536 + ((low >>> 8) & 0xff);
      const c = 1280 + ((low >>> 16) & 0xff);
      const d = 1024 + (low >>> 24);
      const e = 768 + (high & 0xff);
      const f = 512 + ((high >>> 8) & 0xff);
      const g = 256 + ((high >>> 16) & 0xff);
      const k = high >>> 24;
      high = h[a]! ^ h[b]! ^ h[c]! ^ h[d]! ^ h[e]! ^ h[f]! ^ h[g]! ^ h[k]!;
      low = l[a]! ^ l[b]! ^ l[c]! ^ l[d]! ^ l[e]! ^ l[f]! ^ l[g]! ^ l[k]!;
    }
    for (; i < end; i++) {
      const index = (low ^ data[i]!) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ l[index]!;
      high = (high >>> 8) ^ h[index]!;
    }
    this.#high = high;
    this.#low = low;
    return this;
  }

  /** Eight bytes, most significant first, as S3 transmits it. */
  digest(): Buffer {
    const out = Buffer.allocUnsafe(8);
    out.writeInt32BE(~this.#high, 0);
    out.writeInt32BE(~this.#low, 4);
    return out;
  }
}
