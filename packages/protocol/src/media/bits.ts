/**
 * Reads bits of a NAL unit and skips its emulation prevention bytes on the way. Past the end it reads zeros, and says so
 * in `overrun`, so that hostile bytes cost a wrong number but never an exception.
 */
export class BitReader {
  readonly #data: Uint8Array;
  readonly #end: number;
  #at: number;
  #zeros = 0;
  #byte = 0;
  #left = 0;
  #over = false;

  constructor(data: Uint8Array, start: number, end: number) {
    this.#data = data;
    this.#at = start;
    this.#end = Math.min(end, data.length);
  }

  get overrun(): boolean {
    return this.#over;
  }

  bit(): number {
    if (this.#left === 0) this.#load();
    this.#left--;
    return (this.#byte >> this.#left) & 1;
  }

  /** Up to 32 bits, unsigned. */
  bits(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++) value = value * 2 + this.bit();
    return value;
  }

  skip(count: number): void {
    for (let i = 0; i < count; i++) this.bit();
  }

  /** Unsigned Exp-Golomb. */
  ue(): number {
    let zeros = 0;
    while (this.bit() === 0) {
      zeros++;
      if (zeros > 31 || this.#over) {
        this.#over = true;
        return 0;
      }
    }
    return 2 ** zeros - 1 + this.bits(zeros);
  }

  /** Signed Exp-Golomb. */
  se(): number {
    const value = this.ue();
    return value % 2 ? (value + 1) / 2 : -value / 2;
  }

  #load(): void {
    let byte = this.#next();
    if (this.#zeros >= 2 && byte === 3) {
      this.#zeros = 0;
      byte = this.#next();
    }
    this.#zeros = byte === 0 ? this.#zeros + 1 : 0;
    this.#byte = byte;
    this.#left = 8;
  }

  #next(): number {
    if (this.#at < this.#end) return this.#data[this.#at++] ?? 0;
    this.#over = true;
    return 0;
  }
}
