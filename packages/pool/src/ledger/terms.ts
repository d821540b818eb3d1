import { PoolError } from "@openpool/base";
import { isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";
import { z } from "zod";

/**
 * Where the price of a job comes from. `upstream`: from the orchestrator whose job it is, where the pool works for one that
 * says what it charges; else, and of gateways' jobs, from the settings. `configured`: always from the settings.
 */
export type PriceRule = "upstream" | "configured";

/** What may differ between workers. */
export interface TermsOverride {
  /** For people: "own machines", "partners". A group is an override with several workers. */
  readonly name: string;
  readonly workers: readonly WorkerAddress[];
  readonly commissionPpm?: bigint | undefined;
  readonly scheme?: string | undefined;
  readonly schemeOptions?: Readonly<Record<string, unknown>> | undefined;
  readonly holdMs?: number | undefined;
  readonly minimumPayoutWei?: bigint | undefined;
}

/** What the pool promises its workers, from a moment on. A version that was announced is never changed. */
export interface Terms {
  /** 1, 2, 3, …; every credit names the one it was made under. */
  readonly version: number;
  /** Unix ms: jobs credited from here on follow it. */
  readonly effectiveAtMs: number;
  /** Unix ms; never after `effectiveAtMs`, except for the first version, where the two are one. */
  readonly announcedAtMs: number;
  /** What the pool keeps of each fee. */
  readonly commissionPpm: bigint;
  /** `unit`, `segment`, `proportional`, `blend`, `hook`. */
  readonly scheme: string;
  /** Parameters of the scheme; amounts as decimal strings. */
  readonly schemeOptions: Readonly<Record<string, unknown>>;
  readonly priceSource: PriceRule;
  /** How long what was earned is held before it is payable. */
  readonly holdMs: number;
  /** Paid once so much is owed. */
  readonly minimumPayoutWei: bigint;
  /** When payouts are made: a cron expression and its time zone. */
  readonly schedule: { readonly cron: string; readonly timeZone: string };
  readonly gasBorneBy: "pool" | "worker";
  /** The first that names a worker counts. */
  readonly overrides: readonly TermsOverride[];
}

/** The terms as they are for one worker. */
export type WorkerTerms = Omit<Terms, "overrides">;

/** What an operator may set; the rest of {@link Terms} follows from when it is set. */
export type TermsDocument = Omit<Terms, "version" | "effectiveAtMs" | "announcedAtMs">;

export class TermsError extends PoolError<{
  readonly code: "terms/invalid" | "terms/retroactive" | "terms/unknown-version" | "terms/unchanged";
}> {}

const wei = z
  .string()
  .regex(/^\d{1,78}$/, "must be wei as a decimal string")
  .transform(BigInt);
const ppm = z.coerce
  .string()
  .regex(/^\d{1,7}$/, "must be parts per million")
  .transform(BigInt)
  .refine((value) => value <= 1_000_000n, "is more than 1000000 parts per million");
const address = z.string().transform((text, context) => {
  const parsed = parseAddress(text);
  if (!isAddressProblem(parsed)) return parsed;
  context.addIssue({ code: "custom", message: `is no payout address (${parsed})` });
  return z.NEVER;
});
/** Ten years: more is a mistake. */
const holdMs = z
  .int()
  .min(0)
  .max(10 * 365 * 86_400_000);
const scheme = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, "must be the name of a scheme");
const schemeOptions = z.record(z.string(), z.json());

const overrideSchema = z.strictObject({
  name: z.string().min(1).max(100),
  workers: z.array(address).min(1).max(10_000),
  commissionPpm: ppm.optional(),
  scheme: scheme.optional(),
  schemeOptions: schemeOptions.optional(),
  holdMs: holdMs.optional(),
  minimumPayoutWei: wei.optional(),
});

const documentSchema = z.strictObject({
  commissionPpm: ppm,
  scheme,
  schemeOptions: schemeOptions.default({}),
  priceSource: z.enum(["upstream", "configured"]).default("upstream"),
  holdMs,
  minimumPayoutWei: wei,
  schedule: z.strictObject({ cron: z.string().min(1).max(100), timeZone: z.string().min(1).max(100) }),
  gasBorneBy: z.enum(["pool", "worker"]),
  overrides: z.array(overrideSchema).max(1_000).default([]),
});

/** Reads a document of terms, from JSON, or says all that is wrong with it. */
export function readTermsDocument(value: unknown): TermsDocument | { readonly problems: readonly string[] } {
  const parsed = documentSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  return {
    problems: parsed.error.issues.map((issue) => [issue.path.join("."), issue.message].filter(Boolean).join(" ")),
  };
}

/** The same, of one that must be right. @throws TermsError `terms/invalid` with all that is wrong with it. */
export function parseTermsDocument(value: unknown): TermsDocument {
  const read = readTermsDocument(value);
  if (!("problems" in read)) return read;
  throw new TermsError({ code: "terms/invalid" }, `These are no terms: ${read.problems.join("; ")}.`);
}

/** The document as JSON: wei and parts per million as decimal strings. `parseTermsDocument` reads it back. */
export function termsDocumentJson(terms: TermsDocument): Record<string, unknown> {
  return {
    commissionPpm: terms.commissionPpm.toString(),
    scheme: terms.scheme,
    schemeOptions: terms.schemeOptions,
    priceSource: terms.priceSource,
    holdMs: terms.holdMs,
    minimumPayoutWei: terms.minimumPayoutWei.toString(),
    schedule: terms.schedule,
    gasBorneBy: terms.gasBorneBy,
    overrides: terms.overrides.map((one) => ({
      name: one.name,
      workers: one.workers,
      ...(one.commissionPpm === undefined ? {} : { commissionPpm: one.commissionPpm.toString() }),
      ...(one.scheme === undefined ? {} : { scheme: one.scheme }),
      ...(one.schemeOptions === undefined ? {} : { schemeOptions: one.schemeOptions }),
      ...(one.holdMs === undefined ? {} : { holdMs: one.holdMs }),
      ...(one.minimumPayoutWei === undefined ? {} : { minimumPayoutWei: one.minimumPayoutWei.toString() }),
    })),
  };
}

/** The whole of a version as JSON, for pages and commands. */
export function termsJson(terms: Terms): Record<string, unknown> {
  return {
    version: terms.version,
    effectiveAt: new Date(terms.effectiveAtMs).toISOString(),
    announcedAt: new Date(terms.announcedAtMs).toISOString(),
    ...termsDocumentJson(terms),
  };
}

/** What a document, or a version of it, says once nobody has other terms. */
type Resolved<T extends TermsDocument> = Omit<T, "overrides">;

/** The terms as they are for one worker: the first override that names it counts. */
export function termsFor<T extends TermsDocument>(terms: T, worker: WorkerAddress): Resolved<T> {
  return resolve(
    terms,
    terms.overrides.find((one) => one.workers.includes(worker)),
  );
}

/** All that some worker may have: the common terms, and those of each override. */
export function everyTerms<T extends TermsDocument>(terms: T): readonly Resolved<T>[] {
  return [undefined, ...terms.overrides].map((one) => resolve(terms, one));
}

function resolve<T extends TermsDocument>(terms: T, own: TermsOverride | undefined): Resolved<T> {
  const { overrides: _, ...common } = terms;
  if (!own) return common;
  return {
    ...common,
    commissionPpm: own.commissionPpm ?? terms.commissionPpm,
    // Another scheme does not inherit the parameters of this one.
    scheme: own.scheme ?? terms.scheme,
    schemeOptions: own.schemeOptions ?? (own.scheme === undefined ? terms.schemeOptions : {}),
    holdMs: own.holdMs ?? terms.holdMs,
    minimumPayoutWei: own.minimumPayoutWei ?? terms.minimumPayoutWei,
  };
}

/** One thing that differs between two versions, as texts. */
export interface TermsChange {
  /** `commissionPpm`, `overrides`, … */
  readonly field: string;
  readonly from: string;
  readonly to: string;
}

/** What changes from one version to another. */
export function diffTerms(from: TermsDocument, to: TermsDocument): readonly TermsChange[] {
  const a = termsDocumentJson(from);
  const b = termsDocumentJson(to);
  const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
  return Object.keys(a)
    .filter((field) => text(a[field]) !== text(b[field]))
    .map((field) => ({ field, from: text(a[field]), to: text(b[field]) }));
}

/** All versions there are, and which one counts when. Plain memory: asked for every job. */
export class TermsBook {
  #versions: readonly Terms[] = [];
  /** Resolved per version and worker: overrides may name thousands. */
  readonly #resolved = new Map<string, WorkerTerms>();

  constructor(versions: readonly Terms[] = []) {
    this.load(versions);
  }

  load(versions: readonly Terms[]): void {
    this.#versions = versions.toSorted((a, b) => a.version - b.version);
    this.#resolved.clear();
  }

  get versions(): readonly Terms[] {
    return this.#versions;
  }

  /** @throws TermsError `terms/unknown-version`. */
  version(version: number): Terms {
    // Versions count from 1 without gaps.
    const found = this.#versions[version - 1];
    if (found?.version === version) return found;
    throw new TermsError({ code: "terms/unknown-version" }, `There is no version ${version} of the terms.`);
  }

  has(version: number): boolean {
    return this.#versions[version - 1]?.version === version;
  }

  /** The version in force at a moment; before the first became effective, the first. */
  at(ms: number): Terms {
    // A later version may become effective before an earlier one that was announced for later: it replaces that one.
    const found = this.#versions.findLast((one) => one.effectiveAtMs <= ms) ?? this.#versions[0];
    if (found) return found;
    throw new TermsError({ code: "terms/unknown-version" }, "There are no terms yet.");
  }

  /** The terms of one worker under a version. */
  of(terms: Terms, worker: WorkerAddress): WorkerTerms {
    const key = `${terms.version} ${worker}`;
    let found = this.#resolved.get(key);
    if (!found) {
      // Bounded, for addresses can be made up; refilling costs a scan of the overrides.
      if (this.#resolved.size >= 50_000) this.#resolved.clear();
      found = termsFor(terms, worker);
      this.#resolved.set(key, found);
    }
    return found;
  }
}
