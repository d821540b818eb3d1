import { errorText, PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type {
  Calls,
  Chain,
  Findings,
  FoundLine,
  FoundPayment,
  MadeTransaction,
  Payment,
  PayoutStore,
  Receipt,
  Settlement,
} from "./ports.ts";
import { isLive, WINDOW } from "./context.ts";
import type { PriceOf } from "./gather.ts";
import { worthOf } from "./planner.ts";
import { nextKnown } from "./run-signer.ts";
import { unpaidPlaces } from "./settlement.ts";
import type { Asset, AssetPrice, Hex, PayoutIntent, PayoutLine, ResumeHow, RunDetail } from "./types.ts";

/** Halts behind which the chain may know payments that the books do not. */
export const RECONCILED_HALTS: ReadonlySet<string> = new Set([
  "payout/restored",
  "payout/nonce-ahead",
  "payout/nonce-taken",
]);

/** The clocks of this machine and of the chain's blocks may differ by so much. */
const CLOCKS_DIFFER_MS = 10 * 60 * 1000;
/** Of what cannot be explained at most so much is told at once. */
const MAX_TOLD = 20;

export interface ReconcileDeps {
  readonly store: PayoutStore;
  readonly chain: Chain;
  readonly calls: Calls;
  readonly nowMs: number;
  /** What a token was worth in a block. */
  readonly price?: PriceOf | undefined;
  /** The batch contract that is in use. */
  readonly batchContract: WorkerAddress | undefined;
  /** Books what a final transaction of ours means for an intent; true: payouts are to be halted for another reason. */
  settle(intent: PayoutIntent, lines: readonly PayoutLine[], receipt: Receipt): Promise<boolean>;
}

/**
 * Finds what the pool's accounts did on the chain and the books do not know: payments that were made after the books were
 * backed up, or by a transaction that took one of our nonces. Besides the one that pays now these are accounts of before
 * that have something left to be decided; of books that were set back all, which are watched from then on. Each payment is explained wholly by what the books say and by `how`, or nothing
 * is found at all.
 *
 * @throws PoolError `payout/unexplained`; `payout/still-pending`, `payout/not-final`, `payout/books-behind` and `payout/history-unreadable` where
 * nothing can be said yet.
 */
export async function findUnknownPayments(
  payer: WorkerAddress,
  booksOfMs: number | undefined,
  how: ResumeHow,
  deps: ReconcileDeps,
): Promise<readonly Findings[]> {
  if (!(await deps.store.booksCatchUp(deps.nowMs))) {
    throw new PoolError(
      { code: "payout/books-behind" },
      "The books have not caught up with the event log yet, so nobody can say who is owed what: try again in a moment.",
    );
  }
  const { foreign, alsoPayers = [], noOtherPayer = false } = how;
  const explain = await explainer(how, deps);
  const found: Findings[] = [];
  const accounts = [...new Set([payer, ...(await otherAccounts(payer, booksOfMs, deps)), ...alsoPayers])];
  const known = new Set([...accounts, ...(await deps.store.accounts(deps.chain.chainId)).keys()]);
  if (booksOfMs !== undefined && foreign !== "all" && alsoPayers.length === 0 && !noOtherPayer) {
    throw askForPayers(booksOfMs, [...known]);
  }
  const unexplained: string[] = [];
  const seen = new Set<Hex>();
  for (const account of accounts) {
    const of = await findOf({ payer: account, current: account === payer, booksOfMs }, how, explain, deps);
    found.push(of.found);
    unexplained.push(...of.unexplained);
    for (const hash of of.seen) seen.add(hash);
  }
  if (booksOfMs !== undefined && foreign !== "all") {
    unexplained.push(...(await unknownBatches({ known, seen, booksOfMs }, how, deps)));
  }
  if (unexplained.length > 0) {
    const more = unexplained.length > MAX_TOLD ? ` … and ${unexplained.length - MAX_TOLD} more.` : "";
    throw new PoolError(
      { code: "payout/unexplained", unexplained },
      `${accounts.join(" and ")} made transactions that the books cannot explain; nothing was booked, and payouts stay halted. ${unexplained.slice(0, MAX_TOLD).join(". ")}.${more} For each: if it paid a worker, say whom with --paid-for ADDRESS=WORKER, and what a token was worth with --token-price TOKEN=UNITS; if it paid none, or you entered by hand what it paid (\`openpool ledger adjust\`), say --foreign HASH.`,
    );
  }
  return found;
}

/**
 * Accounts that paid before and whose key may be gone: with intents that are not decided, with payments that the books may
 * have forgotten, or, where the books were set back, any.
 */
async function otherAccounts(
  payer: WorkerAddress,
  booksOfMs: number | undefined,
  { store, chain }: ReconcileDeps,
): Promise<readonly WorkerAddress[]> {
  const undecided = new Set(
    (await store.openRuns())
      .flatMap(({ intents }) => intents)
      .filter((one) => isLive(one) && one.chainId === chain.chainId)
      .map((one) => one.payer),
  );
  const others: WorkerAddress[] = [];
  for (const [account, nonces] of await store.accounts(chain.chainId)) {
    if (account === payer) continue;
    const known = nextKnown(nonces);
    const isAhead = async (): Promise<boolean> =>
      nonces.guard !== undefined && known < nonces.guard && (await chain.nextNonce(account)) > known;
    if (booksOfMs !== undefined || undecided.has(account) || (await isAhead())) others.push(account);
  }
  return others;
}

/** An account, and of when the books are. */
interface Account {
  readonly payer: WorkerAddress;
  /** It pays now; else it did so before. */
  readonly current: boolean;
  readonly booksOfMs: number | undefined;
}

async function findOf(
  account: Account,
  how: ResumeHow,
  explain: Explainer,
  deps: ReconcileDeps,
): Promise<{ readonly found: Findings; readonly unexplained: readonly string[]; readonly seen: readonly Hex[] }> {
  const { store, chain, nowMs } = deps;
  const { payer, booksOfMs } = account;
  const next = await chain.settledNonce(payer);
  if (next === undefined) {
    throw notFinal(`the last transactions of ${payer} are in blocks that are not final yet`);
  }
  // What the account that pays now handed out is made impossible by using up its nonces. With a key of before nobody can.
  if (!account.current && booksOfMs !== undefined && !how.despitePending && (await chain.pendingNonce(payer)) > next) {
    throw stillPending(payer);
  }
  const read = how.foreign === "all" ? undefined : await transactionsOf(account, next, deps);
  const lost = await decideIntents(payer, next, read?.all, deps);
  const made = read?.unknown ?? [];
  const known = await store.knownTransactions(chain.chainId, payer, 0);
  const lines: FoundLine[] = [];
  const payments: FoundPayment[] = [];
  const gas: { hash: Hex; block: number; wei: bigint }[] = [];
  const unexplained: string[] = [];
  for (const transaction of made) {
    const { hash, nonce, block } = transaction;
    // What was one of our own, after all, is settled by now.
    if (known.has(hash)) continue;
    const said = await explain(transaction, payer);
    if ("why" in said) {
      unexplained.push(...said.why.map((why) => `${hash} (nonce ${nonce}, block ${block}) ${why}`));
      continue;
    }
    lines.push(...said.lines);
    payments.push(...said.payments);
    if (said.gasWei > 0n) gas.push({ hash, block, wei: said.gasWei });
  }
  // Then the books did not know all that was handed out, and more of it may still be on its way.
  const setBack = booksOfMs !== undefined || lines.length > 0 || payments.length > 0;
  const nonceGuard = setBack ? next + WINDOW : undefined;
  const { chainId } = chain;
  return {
    found: { lost, lines, payments, gas, nonceFloor: next, nonceGuard, chainId, payer, atMs: nowMs },
    unexplained,
    seen: made.map(({ hash }) => hash),
  };
}

function stillPending(account: WorkerAddress): PoolError {
  return new PoolError(
    { code: "payout/still-pending" },
    `${account}, which paid before, has transactions that wait to be mined: whom they pay would be paid twice. Who has its key starts the pool with it and resumes with that, which makes them impossible. Without the key: wait until they are mined, which needs cheaper gas, or forgotten by the nodes; or hold the workers that they pay (\`openpool workers hold\`) and say --despite-pending. If one is mined later, payouts halt and \`openpool payouts resume\` books it.`,
  );
}

export function notFinal(what: string): PoolError {
  return new PoolError({ code: "payout/not-final" }, `Payouts cannot go on yet: ${what}. Try again in a while.`);
}

function noReceipt({ payer, nonce }: PayoutIntent, taker: MadeTransaction | undefined): PoolError {
  const what = taker ? `the payment ${taker.hash} is in block ${taker.block}` : `nonce ${nonce} of ${payer} is used`;
  return notFinal(`${what}, and the RPC nodes have no receipt of it: name one that keeps receipts (--rpc-url)`);
}

/** What the account did that the books may not know, and what of it no intent of theirs stands for. */
async function transactionsOf(
  { payer, current, booksOfMs }: Account,
  next: number,
  { store, chain }: ReconcileDeps,
): Promise<{ readonly all: readonly MadeTransaction[]; readonly unknown: readonly MadeTransaction[] }> {
  const nonces = (await store.accounts(chain.chainId)).get(payer) ?? {};
  const { last, floor } = nonces;
  const undecided = (await store.openRuns())
    .flatMap(({ intents }) => intents)
    .filter((one) => isLive(one) && one.payer === payer && one.nonce < next);
  // The books know all of it, and no node has to remember anything.
  if (!current && undecided.length === 0 && next <= nextKnown(nonces)) return { all: [], unknown: [] };
  const signedMs = [
    ...undecided.flatMap(({ transactions }) => transactions.slice(0, 1).map((one) => one.signedAtMs)),
    (await store.lastSignedMs(chain.chainId, payer)) ?? booksOfMs ?? 0,
  ];
  // Only where to begin to look; a clock that was wrong costs time there.
  const sinceMs = Math.min(...signedMs) - CLOCKS_DIFFER_MS;
  const ofTheBooksTime = async (): Promise<number> =>
    booksOfMs === undefined ? next : chain.nonceAt(payer, booksOfMs - CLOCKS_DIFFER_MS);
  try {
    // Books that know no payment of the account say nothing about what it did before them: only the time does. Nor is what
    // an account did after it had paid for the last time, and before those books, a payment.
    const first =
      last === undefined
        ? (floor ?? (await ofTheBooksTime()))
        : current || booksOfMs === undefined
          ? last + 1
          : Math.max(last + 1, await ofTheBooksTime());
    const from = Math.max(floor ?? 0, Math.min(first, ...undecided.map((one) => one.nonce)));
    const known = await store.knownTransactions(chain.chainId, payer, from);
    const made = from < next ? await chain.madeSince(payer, sinceMs, from, next) : [];
    const seen = new Set(made.map(({ nonce }) => nonce));
    for (let nonce = from; nonce < next; nonce++) {
      // A contract, as a multisig is, begins with one: no transaction has the first.
      if (nonce === 0 && !seen.has(nonce) && (await chain.payees([payer], "eth")).get(payer)?.isContract) continue;
      if (!seen.has(nonce)) throw new Error(`no block was found that has its transaction with nonce ${nonce}`);
    }
    return { all: made, unknown: made.filter(({ hash }) => !known.has(hash)) };
  } catch (cause) {
    throw unreadable(`what ${payer} did lately`, cause);
  }
}

/**
 * What batch contracts did since the books were backed up and no nonce tells of: batches of multisigs, and what accounts that
 * are in no book paid to workers of these. Other pools may use the same contract. Who pays by plain transfers shows nowhere,
 * nor does a multisig that is in no book.
 */
async function unknownBatches(
  books: {
    readonly known: ReadonlySet<WorkerAddress>;
    /** Transactions that their accounts' nonces told of. */
    readonly seen: ReadonlySet<Hex>;
    readonly booksOfMs: number;
  },
  { foreign = [] }: ResumeHow,
  { store, chain, calls, batchContract }: ReconcileDeps,
): Promise<readonly string[]> {
  const workersAt = await payeesOf(store);
  const paysWorkers = async (block: number, payer: WorkerAddress, hash: Hex): Promise<boolean> => {
    const made = (await chain.transactionsIn(block, payer)).find((one) => one.hash === hash);
    const call = made && calls.read(made.data);
    return call !== undefined && "payments" in call && call.payments.some(({ to }) => workersAt.has(to));
  };
  const multisigs = await store.multisigs(chain.chainId);
  const contracts = new Set([batchContract, ...multisigs.map((one) => one.contract)]);
  const safes = new Set(multisigs.map((one) => one.safe));
  const unknown: string[] = [];
  for (const contract of contracts) {
    if (contract === undefined) continue;
    for (const { payer, hash, batch, block } of await batchesOf(contract, books.booksOfMs, chain)) {
      if (foreign.includes(hash) || books.seen.has(hash)) continue;
      const id = runOf(batch);
      const state = (await store.run(id))?.run.state;
      const did = `${hash} did the batch ${id} of ${payer}`;
      if (state === "cancelled") unknown.push(`${did}, which is cancelled in these books`);
      if (state !== undefined) continue;
      if (!books.known.has(payer)) {
        if (!(await paysWorkers(block, payer, hash))) continue;
        unknown.push(
          `${did}, an account that these books do not know: if it paid for this pool, say --also-payer ${payer}`,
        );
      } else if (safes.has(payer) || (await chain.payees([payer], "eth")).get(payer)?.isContract) {
        unknown.push(`${did}, which these books do not know`);
      }
    }
  }
  return unknown;
}

/** The run whose batch it is, where a multisig pays it. */
export function runOf(batch: Hex): string {
  return batch.slice(-32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function batchesOf(contract: WorkerAddress, booksOfMs: number, chain: Chain): ReturnType<Chain["batchesSince"]> {
  try {
    return await chain.batchesSince(contract, booksOfMs - CLOCKS_DIFFER_MS);
  } catch (cause) {
    throw unreadable(`which batches ${contract} did lately`, cause);
  }
}

function askForPayers(booksOfMs: number, known: readonly WorkerAddress[]): PoolError {
  return new PoolError(
    { code: "payout/name-payers" },
    `The books are of ${new Date(booksOfMs).toISOString()}. What these accounts paid since then is read from the chain: ${known.join(", ")}. If another account or multisig paid workers since then (a new key, for one), they would be paid again: name each with --also-payer ADDRESS; if there was none, say --no-other-payer. Other chains than this one are not read: what was paid there, take with \`openpool ledger adjust\`. Also gone are all changes since then of payout addresses, holds, bans, terms, income and adjustments by hand: first hold the workers that they were about (\`openpool workers hold\`).`,
  );
}

function unreadable(what: string, cause: unknown): PoolError {
  return new PoolError(
    { code: "payout/history-unreadable" },
    `The RPC nodes do not say ${what}: ${errorText(cause)}. Give nodes that keep older state (--rpc-url); or look yourself: hold the workers that were paid (\`openpool workers hold\`), say \`openpool payouts resume --foreign all\`, take from what they are owed with \`openpool ledger adjust\`, and release them.`,
    { cause },
  );
}

/**
 * Settles our intents whose nonce the chain has given away; answers those that another transaction took. `made`: what the
 * blocks have of the account; undefined: a person answers for it.
 */
async function decideIntents(
  payer: WorkerAddress,
  next: number,
  made: readonly MadeTransaction[] | undefined,
  { store, chain, nowMs, settle }: ReconcileDeps,
): Promise<readonly Settlement[]> {
  const lost: Settlement[] = [];
  for (const { intents, lines } of await store.openRuns()) {
    const decided = intents.filter((one) => isLive(one) && one.payer === payer && one.nonce < next);
    for (const intent of decided.sort((a, b) => a.nonce - b.nonce)) {
      const hashes = intent.transactions.map(({ hash }) => hash);
      const taker = made?.find((one) => one.nonce === intent.nonce);
      // A later version of it, which was signed after the books were backed up.
      const isVersion =
        taker !== undefined &&
        taker.to === intent.to &&
        taker.valueWei === intent.valueWei &&
        taker.data.toLowerCase() === intent.data.toLowerCase();
      if (isVersion && !hashes.includes(taker.hash)) {
        const { raw, maxFeeWei, maxTipWei } = intent.transactions.at(-1)!;
        await store.addTransaction(intent.id, { hash: taker.hash, raw, maxFeeWei, maxTipWei, signedAtMs: nowMs });
        hashes.push(taker.hash);
      }
      const fate = await chain.fate(payer, intent.nonce, hashes);
      if (fate.kind === "mined" && fate.final) {
        if (!(await settle(intent, lines, fate.receipt))) continue;
        throw notFinal(`transaction ${fate.receipt.hash} was mined and is not as it should be; see the new halt`);
      }
      if (fate.kind !== "taken" || !fate.final) throw notFinal(`the RPC nodes do not agree on nonce ${intent.nonce}`);
      // Nodes that forget receipts and keep blocks know that the nonce is taken, and not by whom: it may have been us.
      if (made !== undefined && (taker === undefined || hashes.includes(taker.hash))) throw noReceipt(intent, taker);
      const reason = `another transaction took nonce ${intent.nonce}, for good`;
      lost.push({
        intent: intent.id,
        state: "lost",
        minedHash: undefined,
        minedBlock: undefined,
        gasWei: 0n,
        paid: [],
        returned: intent.lines.map((line) => ({ line, reason, hold: false })),
        atMs: nowMs,
      });
    }
  }
  return lost;
}

type Explained =
  | { readonly lines: readonly FoundLine[]; readonly payments: readonly FoundPayment[]; readonly gasWei: bigint }
  | { readonly why: readonly string[] };

interface PaidOut {
  readonly asset: Asset;
  readonly method: "batch" | "transfer";
  readonly payments: readonly (Payment & { readonly place: number })[];
}

/** Which workers are paid at an address. */
async function payeesOf(store: PayoutStore): Promise<ReadonlyMap<WorkerAddress, readonly WorkerAddress[]>> {
  const workersAt = new Map<WorkerAddress, WorkerAddress[]>();
  const payTo = new Map((await store.payees()).map((one) => [one.worker, one.payTo]));
  for (const worker of await store.workers()) {
    const address = payTo.get(worker) ?? worker;
    workersAt.set(address, [...(workersAt.get(address) ?? []), worker]);
  }
  return workersAt;
}

type Explainer = (made: MadeTransaction, payer: WorkerAddress) => Promise<Explained>;

/** Says of a transaction what it paid to whom; keeps in mind which lines were named already. */
async function explainer(
  { foreign = [], paidFor = new Map(), unitsPerEth = new Map() }: ResumeHow,
  { store, chain, calls, price }: ReconcileDeps,
): Promise<Explainer> {
  const free = plannedLines(await store.openRuns());
  const workersAt = await payeesOf(store);
  const priceOf = async (token: WorkerAddress, atBlock: number): Promise<AssetPrice | { readonly problem: string }> => {
    const units = unitsPerEth.get(token);
    if (units !== undefined) return { token, unitsPerEth: units, source: "the operator", atBlock: undefined };
    return (await price?.(token, atBlock)) ?? { problem: `no source of the price of ${token} is set` };
  };

  return async (made, payer) => {
    if (foreign.includes(made.hash)) return { lines: [], payments: [], gasWei: 0n };
    const receipt = await chain.finalReceipt(made.hash);
    if ("none" in receipt) throw notFinal(`transaction ${made.hash}: ${receipt.none}`);
    const paidOut = await payoutsIn(made, receipt, payer, { chain, calls });
    if (typeof paidOut === "string") return { why: [paidOut] };
    const lines: FoundLine[] = [];
    const payments: FoundPayment[] = [];
    const why: string[] = [];
    const { hash, block } = made;
    const { asset, method } = paidOut;
    let read: Awaited<ReturnType<typeof priceOf>> | undefined;
    for (const { to, amount, place } of paidOut.payments) {
      const line = free.find(
        (one) =>
          one.payer === payer &&
          one.payTo === to &&
          one.sendAmount === amount &&
          one.asset === asset &&
          one.method !== "safe",
      );
      if (line) {
        free.splice(free.indexOf(line), 1);
        lines.push({ line: line.id, hash, block });
        continue;
      }
      const what = `paid ${amount} ${asset === "eth" ? "wei" : `of token ${asset}`} to ${to} (place ${place})`;
      const here = workersAt.get(to) ?? [];
      const told = paidFor.get(`${hash}/${place}`) ?? paidFor.get(to);
      const worker = told ?? (here.length === 1 ? here[0] : undefined);
      if (worker === undefined) {
        why.push(
          `${what}, ${here.length === 0 ? "where no worker of these books is paid" : `where ${here.join(", ")} are paid`}`,
        );
        continue;
      }
      const paid = { worker, payTo: to, asset, sendAmount: amount, method, hash, block };
      if (asset === "eth") {
        payments.push({ ...paid, amountWei: amount, price: undefined });
        continue;
      }
      // The price of its plan is lost with the books; that of its block is as near as anybody can come.
      read ??= await priceOf(asset, block);
      if ("problem" in read) why.push(`${what}, and nobody knows what that was worth: ${read.problem}`);
      else payments.push({ ...paid, amountWei: worthOf(amount, read), price: read });
    }
    return why.length > 0 ? { why } : { lines, payments, gasWei: receipt.gasUsed * receipt.gasPriceWei };
  };
}

/** What a final transaction paid out; a text: nobody can say. */
export async function payoutsIn(
  { to, valueWei, data }: MadeTransaction,
  receipt: Receipt,
  payer: WorkerAddress,
  { chain, calls }: { readonly chain: Pick<Chain, "hasBatchContract">; readonly calls: Pick<Calls, "read"> },
): Promise<PaidOut | string> {
  const nothing: PaidOut = { asset: "eth", method: "transfer", payments: [] };
  if (!receipt.succeeded) return nothing;
  if (to === undefined) return "made a contract";
  if (data === "0x") {
    return to === payer ? nothing : { ...nothing, payments: [{ to, amount: valueWei, place: 0 }] };
  }
  const call = calls.read(data);
  switch (call?.kind) {
    case "pay-eth":
    case "pay-token": {
      if (!(await chain.hasBatchContract(to))) return `called ${to}, which is not the batch contract`;
      const unpaid = unpaidPlaces(receipt, { contract: to, payer, batch: call.batch });
      if (!unpaid) return "called the batch contract, which did not say that it did the batch";
      const all = call.payments.map((one, place) => ({ ...one, place }));
      const asset = call.kind === "pay-eth" ? "eth" : call.token;
      return { asset, method: "batch", payments: all.filter(({ place }) => !unpaid.has(place)) };
    }
    case "token-transfer": {
      const moved = receipt.transfers
        .filter((one) => one.token === to && one.from === payer && one.to === call.to)
        .reduce((sum, one) => sum + one.amount, 0n);
      if (moved === 0n) {
        return receipt.loggedBy?.includes(to) ? `called token ${to}, which does not say what it moved` : nothing;
      }
      return { asset: to, method: "transfer", payments: [{ to: call.to, amount: call.amount, place: 0 }] };
    }
    case "token-approve":
      return (await chain.hasBatchContract(call.spender)) ? nothing : `let ${call.spender} take tokens ${to}`;
    case undefined:
      return `called ${to} in a way that payouts do not`;
  }
}

/** Lines of open runs that nothing was signed of, as far as the books know, and who was to pay them: nobody else does. */
function plannedLines(runs: readonly RunDetail[]): (PayoutLine & { readonly payer: WorkerAddress })[] {
  return runs.flatMap(({ run: { payer }, lines }) =>
    lines.filter((line) => line.state === "planned").map((line) => ({ ...line, payer })),
  );
}
