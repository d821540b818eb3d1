import { formatRig, type RigName } from "@openpool/protocol";

/** Rigs remembered after they left; more leave when a whole site restarts, and then the oldest are forgotten. */
const REMEMBERED = 10_000;

/**
 * Which rigs registered under which secret. Results come on connections of their own, with the secret and nothing else,
 * and still do so after the registration has ended. Workers of the Open Pool fork may all share one secret.
 */
export class SecretHolders {
  readonly #open = new Map<string, Map<string, { readonly rig: RigName; registrations: number }>>();
  /** Those without a registration, longest gone first, by secret and rig. */
  readonly #gone = new Map<string, { readonly secretHash: string; readonly rig: string }>();

  registered(secretHash: string, rig: RigName): void {
    const name = formatRig(rig);
    let rigs = this.#open.get(secretHash);
    if (!rigs) this.#open.set(secretHash, (rigs = new Map()));
    const holder = rigs.get(name) ?? { rig, registrations: 0 };
    holder.registrations++;
    rigs.set(name, holder);
    this.#gone.delete(`${secretHash} ${name}`);
  }

  left(secretHash: string, rig: RigName): void {
    const name = formatRig(rig);
    const holder = this.#open.get(secretHash)?.get(name);
    if (!holder || --holder.registrations > 0) return;
    this.#gone.set(`${secretHash} ${name}`, { secretHash, rig: name });
    if (this.#gone.size <= REMEMBERED) return;
    const [key, oldest] = this.#gone.entries().next().value!; // it has more than one
    this.#gone.delete(key);
    const rigs = this.#open.get(oldest.secretHash);
    rigs?.delete(oldest.rig);
    if (rigs?.size === 0) this.#open.delete(oldest.secretHash);
  }

  holds(secretHash: string, rig: RigName): boolean {
    return this.#open.get(secretHash)?.has(formatRig(rig)) ?? false;
  }

  /** One of the rigs with this secret. */
  anyOf(secretHash: string): RigName | undefined {
    return this.#open.get(secretHash)?.values().next().value?.rig;
  }
}
