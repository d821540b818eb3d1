import { errorText, PoolError } from "@openpool/base";

/** Asks several nodes the same, and believes what enough of them say. */
export interface Agreement<Node> {
  /** Answers of all that give one; fewer than the quorum are no answer. Throws `payout/no-quorum`. */
  ask<T>(question: (node: Node) => Promise<T>): Promise<T[]>;
  /** What at least a quorum says in the same words. Throws `payout/no-quorum`. */
  agreed<T>(question: (node: Node) => Promise<T>): Promise<T>;
  /** How far at least a quorum has come; who lags or boasts does not count. Throws `payout/no-quorum`. */
  reached(question: (node: Node) => Promise<number>): Promise<number>;
}

/** More than half. */
export function majorityOf(nodes: readonly unknown[]): number {
  return Math.floor(nodes.length / 2) + 1;
}

/** How enough nodes agree. Throws `payout/no-quorum` where they never could, or could agree on one thing and its opposite. */
export function openAgreement<Node extends { readonly name: string }>(
  nodes: readonly Node[],
  quorum: number,
): Agreement<Node> {
  if (quorum < majorityOf(nodes) || quorum > nodes.length) {
    throw new PoolError(
      { code: "payout/no-quorum" },
      `${quorum} of ${nodes.length} RPC nodes cannot decide: --rpc-quorum has to be more than half of --rpc-url, and no more than there are.`,
    );
  }
  async function ask<T>(question: (node: Node) => Promise<T>): Promise<T[]> {
    const answers = await Promise.allSettled(nodes.map(async (node) => question(node)));
    const given = answers.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    if (given.length >= quorum) return given;
    const failed = answers.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
    // Alone, a node's own error says most.
    if (nodes.length === 1 && failed[0] instanceof PoolError) throw failed[0];
    const why = answers.flatMap((one, i) =>
      one.status === "rejected" ? [`${nodes[i]?.name}: ${shortly(one.reason)}`] : [],
    );
    throw new PoolError(
      { code: "payout/no-quorum" },
      `Only ${given.length} of ${nodes.length} RPC nodes answer, ${quorum} must: ${why.join("; ")}`,
    );
  }
  return {
    ask,
    async agreed<T>(question: (node: Node) => Promise<T>): Promise<T> {
      const groups = new Map<string, { value: T; votes: number }>();
      for (const value of await ask(question)) {
        const key = keyOf(value);
        const group = groups.get(key);
        if (group) group.votes += 1;
        else groups.set(key, { value, votes: 1 });
      }
      for (const { value, votes } of groups.values()) if (votes >= quorum) return value;
      throw new PoolError({ code: "payout/no-quorum" }, "The RPC nodes contradict each other.");
    },
    async reached(question) {
      const numbers = await ask(question);
      return numbers.sort((a, b) => b - a)[quorum - 1] ?? 0;
    },
  };
}

/** What was said, as a text that is the same for the same words. */
export function keyOf(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) => (typeof one === "bigint" ? `${one}n` : one)) ?? "";
}

/** The first line of an error, bounded. */
export function shortly(error: unknown): string {
  return errorText(error).split("\n")[0]!.slice(0, 200);
}
