import type { MemoryBooks } from "./sim-books.ts";
import type { SimPool } from "./sim-pool.ts";
import type { MemoryPayoutStore } from "./memory-store.ts";

/** Loses the database, which comes back as it was backed up. Once. */
export class Disaster {
  readonly #pool: SimPool;
  readonly #books: MemoryBooks;
  #backup: { readonly store: MemoryPayoutStore; readonly atMs: number } | undefined;
  restores = 0;

  constructor(pool: SimPool, books: MemoryBooks) {
    this.#pool = pool;
    this.#books = books;
  }

  get hasBackup(): boolean {
    return this.#backup !== undefined;
  }

  backUp(): void {
    this.#backup = { store: this.#books.store.copy(), atMs: this.#pool.world.timeMs };
  }

  async restore(): Promise<void> {
    if (!this.#backup) return;
    this.#books.store = this.#backup.store;
    await this.#books.store.halt({
      code: "payout/restored",
      message: "restored",
      atMs: this.#pool.nowMs,
      intent: undefined,
      nonce: undefined,
      booksOfMs: this.#backup.atMs,
    });
    this.#backup = undefined;
    this.restores += 1;
    await this.#pool.restart();
  }
}
