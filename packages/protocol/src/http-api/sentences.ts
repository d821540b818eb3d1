/*
 * Sentences that are made of facts. The pool writes them as plain text for whoever reads its API, and its pages draw the
 * same ones with live amounts and times: who translates the pages replaces these templates and nothing else.
 *
 * In a template `{name}` is a fact. What it is follows from the end of its name: …Wei is an amount, …Ms a span of time,
 * …At a moment, …Ppm a share. `{rigs|rig|rigs}` is a number with its noun, `{rigs?is|are}` the word alone. What stands in
 * `[…]` is left out where one of its facts is missing, and what stands in `[!name …]` where that fact is there.
 *
 * A fact `x` with a fact `xCode` beside it is a sentence itself, or a part of one: the code has its template here, of the
 * same facts, and `x` is what it says in English.
 */

/** By name: amounts in wei as decimal strings, spans in milliseconds, moments as RFC 3339, shares in parts per million. */
export type Facts = Readonly<Record<string, string | number>>;

/** By code: what it says, and what can be done about it. */
export type Texts = Readonly<Record<string, readonly [sentence: string, action?: string]>>;

/** What each reason says, and what can be done about it. A code is never renamed. */
export const reasonTexts = {
  // Why not paid yet.
  "payout-under-way": ["{payingWei} are in a payout that is under way."],
  "payouts-not-configured": ["{why}", "Ask the operator."],
  "payouts-stopped": ["Payouts are stopped: {why}"],
  "below-minimum": ["{owedWei} are owed, {missingWei} less than the minimum of {minimumWei}."],
  waits: ["{why}"],
  "by-hand": ["Payouts are made by hand by the operator; no time is set for the next one."],
  "waits-for-payout": ["{owedWei} are owed and over the minimum; the next payout is in {untilMs}, at {nextAt}."],
  held: ["{heldWei} are held for checks.[ The oldest of it is released in {releaseMs}.]"],
  // Why this much work.
  banned: ["The operator has banned this address: {why}.", "Ask the operator."],
  refused: [
    "A rig tried to join in this name {agoMs} ago and was refused: {why}.",
    "Correct that and start it again, or ask the operator.",
  ],
  "never-joined": [
    "No rig has ever connected in this name.",
    "Start a rig with this address as its secret: the join page has the command.",
  ],
  offline: [
    "[{rig} is not connected; it was last seen {agoMs} ago.][!rig None of its rigs is connected.]",
    "Start [!rig one][{rig}], or look into its log: it says whether it reaches the pool.",
  ],
  "pool-restarting": ["The pool is restarting and takes no new streams for a moment."],
  "pool-cannot-book": ["The pool cannot write its books now, so it takes no work."],
  draining: ["The pool's operator takes {rig} out of work: it keeps its streams and gets no new ones."],
  barred: [
    "{rig} is barred: {why}. It gets one segment now and then to show that it is well again.",
    "Find out why its results fail; good retrials in a row lift it.",
  ],
  probation: [
    "{rig} is on probation: {why}. Others with room come first.",
    "Good results in a row earn the trust back.",
  ],
  avoided: [
    "{rig} is left alone for a moment: it said that it was busy, or let a task run late without a sign of life.",
    "If this stays, it has more places than it can serve: lower its capacity.",
  ],
  working: [
    "{rig} has {streams|stream|streams} on {places|place|places}[ and works on {segments|segment|segments} now.][!segments ; a stream pauses between segments.]",
  ],
  full: [
    "All places of {rig} are taken.",
    "If it is not busy, give it more capacity; if it is, this is what it can do.",
  ],
  "no-demand": ["No gateway sends a stream to this pool now."],
  "others-ahead": [
    "{ahead|rig|rigs} of others with a free place {ahead?is|are} faster, less loaded or better trusted, and a new stream goes there first.",
    "Faster work and fewer failures move it up; its speed stands on the rig's page.",
  ],
  "streams-stay": [
    "The {streams|stream|streams} that {streams?runs|run} {streams?stays|stay} with the rigs that serve them well; no new one had to be placed in the last hour.",
  ],
  "passed-over": ["In the last hour it was considered {considered|time|times} and chosen {chosen|time|times}."],
  new: ["{rig} is new: it is tried out with single segments until its results have shown what it can do."],
  next: ["{rig} is ready and nobody with room is ahead of it: the next new stream is likely its."],
  room: [
    "The pool has {places|free place|free places} and {streams|stream|streams}: there are more rigs than work now.",
  ],
  // The short answer to it, where no reason is one.
  "has-streams": ["Its rigs have {own} of the {streams|stream|streams} on the pool now."],
  "has-none": ["{streams|stream|streams} {streams?is|are} on the pool now and its rigs have none."],
  "has-none-and-is-behind": [
    "{streams|stream|streams} {streams?is|are} on the pool now and its rigs have none; {ahead|free rig|free rigs} {ahead?is|are} ahead of them for the next one.",
  ],
  "never-worked": [
    "This address has never worked here.",
    "Start a rig with it as its secret: the join page has the command.",
  ],
  "waits-for-first": ["It is connected and waits for its first stream; the page says why it has none yet."],
  // Why a rig was refused.
  "refused-wrong-password": ["the pool's password was wrong or missing"],
  "refused-joining-closed": ["the pool does not let rigs join in this way"],
  "refused-unknown-credential": ["the pool wants a credential that its operator issues"],
  "refused-revoked": ["its credential was revoked"],
  "refused-locked": ["the address is locked to issued credentials"],
  "refused-banned": ["the address is banned"],
  "refused-address-mismatch": ["the secret names another address than the registration"],
  "refused-zero-address": ["its registration came with the zero address"],
  "refused-bad-rig-name": ["the rig's name is not valid"],
  "refused-bad-checksum": ["the address has a typo"],
  "refused-zero-capacity": ["it offered no place for a stream"],
  "refused-too-many-names": ["too many new rigs came under this address"],
  "refused-vetoed": ["a rule of the operator's does not let it in"],
  "refused-unknown": ["it could not show who it is"],
  // How a rig is.
  "rig-offline": ["It is not connected[; it was last seen {agoMs} ago]."],
  "rig-draining": ["The operator takes it out of work; it gets no new streams."],
  "rig-barred": ["It is connected and barred: {why}."],
  "rig-probation": ["It is connected and on probation: {why}."],
  "rig-full": ["It is connected and all its places are taken."],
  "rig-free": ["It is connected and has room for {places|stream|streams}."],
  "rig-has-room": ["It is connected and has room for {places|more stream|more streams}."],
  // Why a rig is trusted as much as it is, and the failures that count.
  "standing-new": ["too new to be judged"],
  "standing-good": ["{results} good results"],
  "standing-good-in-a-row": ["{results} good results in a row"],
  "standing-retrials": ["{results} good retrials in a row"],
  "standing-slow": ["slow: {speed} × real time, others do the same work at about {usual} ×"],
  "standing-false-claim": ["claimed pixels that were not in the result"],
  "standing-false-claims": ["{claims} grossly false claims, the last: claimed pixels that were not in the result"],
  "standing-failing": ["success down to {percent} %, the last failure: {failure}"],
  "standing-not-told": ["the pool's operator knows why"],
  "failure-disconnected": ["disconnected with work in flight"],
  "failure-not-handed-over": ["a task could not be handed over"],
  "failure-silent": ["gave no sign of life for {tasks} tasks in a row"],
  "failure-late": ["no answer before the deadline"],
  "failure-false-claim": ["claimed pixels that were not in the result"],
  "failure-too-early": ["it came before its source was complete"],
  "failure-input": ["it called the segment bad, and others did not"],
  "failure-unclear": ["an error of its software, or a result that did not pass the check"],
  "failure-busy": ["it was busy"],
  "failure-stopped": ["it had ended the session"],
  "failure-download": ["it could not fetch the segment"],
  "failure-unable": ["it lacks something that the segment asked for"],
  "failure-machine": ["trouble with its own disk, memory or GPU"],
  // What a rig found when it tried itself out.
  "test-find": ["find {device}"],
  "test-decode": ["decode {of} on {device}"],
  "test-encode": ["encode {of} on {device}"],
  "test-passed": ["It works."],
  "problem-no-encoder": [
    "FFmpeg has no [{subject}][!subject encoder for it].",
    "Install an FFmpeg that has it, or name another one with --ffmpeg.",
  ],
  "problem-no-filter": [
    "FFmpeg has no filter[ {subject}].",
    "Install a full build of FFmpeg, or name another one with --ffmpeg.",
  ],
  "problem-driver-too-old": [
    "Driver too old[: this FFmpeg's NVENC needs {subject}][!subject  for this FFmpeg].",
    "Update the NVIDIA driver, or use an older FFmpeg.",
  ],
  "problem-no-encoder-library": [
    "The driver's encoder library is missing.",
    "In a container, NVIDIA_DRIVER_CAPABILITIES must name video.",
  ],
  "problem-no-decoder-library": [
    "The driver's decoder library is missing.",
    "In a container, NVIDIA_DRIVER_CAPABILITIES must name video.",
  ],
  "problem-no-driver": [
    "No NVIDIA driver.",
    "Install it; a container must be started with the GPU (docker run --gpus all).",
  ],
  "problem-no-card": [
    "nvidia-smi [lists no card {subject}][!subject names no card].",
    "Run nvidia-smi: does the driver see the card?",
  ],
  "problem-no-cuda-device": ["There is no such CUDA device.", "Run nvidia-smi: does the driver see the card?"],
  "problem-memory-full": ["The card's memory is full.", "End what else uses it: nvidia-smi lists it."],
  "problem-sessions-taken": [
    "All encoder sessions of the card are in use.",
    "End other encoders, or give the worker fewer sessions with --max-sessions.",
  ],
  "problem-no-nvenc": ["No NVENC on this card for this codec."],
  "problem-cannot-encode": ["The device cannot encode this codec."],
  "problem-no-render-node": [
    "There is no render node in /dev/dri.",
    "Install the GPU's driver; a container must be started with --device /dev/dri.",
  ],
  "problem-no-vaapi": ["No VAAPI driver for this device.", "Install the VAAPI driver of its maker."],
  "problem-no-quick-sync": ["No Quick Sync on this machine."],
  "problem-no-amf": ["AMD's AMF runtime is missing.", "Install it, or use VAAPI."],
  "problem-no-permission": ["No permission to use the device.", "Add the user to the groups video and render."],
  "problem-disk-full": ["The disk is full.", "Make room where the worker's directory is."],
  "problem-frames-lost": ["The test encode lost frames."],
  "problem-stopped": ["Stopped before it was done."],
  "problem-other": ["Its test encode failed.", "The worker's own log has FFmpeg's words."],
  // What of payouts waits, and for what.
  "no-payouts": [
    "This pool does not pay out by itself: what is owed stays in its books until the operator sets payouts up.",
  ],
  "no-income-view": [
    "This pool does not look up what it really receives, so it cannot say whether all of it is covered.",
  ],
  "operator-paused": ["The operator has paused payouts: {said}"],
  "operator-must-look": ["Payouts are halted until the operator has looked; what is owed stays owed."],
  "run-needs-approval": ["An approval by the operator: {why}"],
  "run-over-limit": ["{runWei} are more than {limitWei}, which a person has to approve"],
  "run-by-hand": ["The operator pays it by hand from a multisig."],
  "line-returned": ["It could not be paid and is owed again."],
  "left-out": ["The payout of {payoutAt} left it out: {because}."],
  "left-out-stopped": ["the operator had stopped payouts to it"],
  "left-out-failed-before": ["a payment to it had failed, and the operator had not let it be tried again yet"],
  "left-out-gas": ["gas cost more than the pool or the worker allows"],
  "left-out-address": ["its address is one that cannot be paid"],
  "left-out-asset": ["it could not be paid in what it is to be paid in"],
  "left-out-way-to-pay": ["it could not be paid in the way that this pool pays"],
  "left-out-nothing-left": ["nothing would have been left after gas and rounding"],
  "left-out-daily-cap": ["the pool pays only so much a day"],
  "left-out-run-full": ["one payout held no more payments, and the next comes after it"],
  "left-out-no-funds": ["the paying account did not hold enough"],
  "left-out-unknown": ["it could not be paid then"],
  // Routing decisions as they looked from one rig.
  "chosen-stays": ["chosen: its session is here[, about {expectedS} s expected]"],
  "chosen-best": ["chosen: best for a new session, about {expectedS} s expected"],
  "chosen-instead": ["chosen: {elsewhere} cannot serve its session well now, about {expectedS} s expected"],
  "chosen-next": ["chosen: next attempt after {failure}, about {expectedS} s expected"],
  "chosen-second": ["chosen: the first attempt is late, about {expectedS} s expected"],
  "chosen-trial-new": ["chosen: tried out: it is new"],
  "chosen-trial-probation": ["chosen: tried out: it is on probation"],
  "chosen-trial-again": ["chosen: tried out: a retrial"],
  "chosen-trial-idle": ["chosen: tried out: it had no work for long"],
  "not-chosen-full": ["not chosen: full"],
  "not-chosen-unable": ["not chosen: it lacks a capability that the job needs"],
  "not-chosen-too-old": ["not chosen: the gateway wants a newer go-livepeer than the version that it announced"],
  "not-chosen-slower": ["not chosen: about {expectedS} s expected, {bestS} s at {best}"],
  "not-chosen-no-place": ["not chosen: no place was free at that moment"],
  "not-chosen-no-second": ["not chosen: a second attempt was not worth it at that moment"],
  "not-chosen-probation": ["not chosen: on probation ({why})"],
  "not-chosen-barred": ["not chosen: barred ({why})"],
  "not-chosen-draining": ["not chosen: draining"],
  "not-chosen-silent": ["not chosen: an earlier task ran late and nothing was heard since"],
  "not-chosen-busy": ["not chosen: it said that it was busy"],
  "not-chosen-failed-it": ["not chosen: it had failed this job before"],
  "not-chosen-has-it": ["not chosen: it works on this job already"],
  "not-chosen-session-queue-full": ["not chosen: enough segments of this session wait there already"],
  "not-chosen-no-work": ["not chosen: there is no work"],
  "not-chosen-no-choice": [
    "not chosen: no choice was made, as the {sessions|running session|running sessions} {sessions?stays where it is|stay where they are} served well; now and then a segment tries out a rig that has no work",
  ],
  // How the pool is. A part with the code of its name alone is not as it should be.
  "all-well": ["All is well: {streams|stream|streams} on {rigs|rig|rigs}."],
  gateways: ["The pool is restarting; running streams are served."],
  "gateways-ok": ["Streams of gateways are taken."],
  workers: ["No rig is connected."],
  "workers-ok": ["{rigs|rig|rigs} with {places|place|places}."],
  "event-log": ["Facts cannot be written now, so no work is answered."],
  "event-log-ok": ["Facts are written durably."],
  ledger: ["The last check found a difference; payouts wait for it."],
  "ledger-ok": ["The last check found no difference."],
  "ledger-unchecked": ["Not checked yet since the start."],
  "ledger-not-configured": ["This pool keeps no ledger."],
  payouts: [
    "[The operator has paused payouts: {paused}][!paused Payouts are halted until the operator has looked; work goes on.]",
  ],
  "payouts-unknown": ["The database does not answer, and without it nothing is paid."],
  "payouts-ok": ["Payouts are made as the terms say."],
  upstreams: ["{lost} of {upstreams|upstream|upstreams} not connected."],
  "upstreams-ok": ["{upstreams|upstream|upstreams} connected."],
  // What happened to it, and what goes on.
  restarted: ["The pool was restarted without a gap[, {times|time|times} shortly after one another]."],
  stopped: ["The pool was stopped and started again after {gapMs}[, {times|time|times} shortly after one another]."],
  crashed: ["The pool's process ended unexpectedly and was replaced[, {times|time|times} shortly after one another]."],
  "log-unwritable": [
    "Facts could not be written for {gapMs}, so no work was answered[, {times|time|times} shortly after one another].",
  ],
  "payouts-halted": ["Payouts are halted until the operator has looked; work goes on."],
  "payouts-were-halted": ["Payouts were halted until the operator had looked; work went on."],
  "payouts-paused": ["The operator has paused payouts: {why}"],
  "payouts-were-paused": ["The operator had paused payouts[: {why}]"],
  "no-rigs": ["No rig is connected, so no work is done."],
  "had-no-rigs": ["No rig was connected, so no work was done[, {times|time|times} shortly after one another]."],
  "upstream-lost": ["An orchestrator that this pool works for cannot reach it."],
  "upstream-was-lost": [
    "An orchestrator that this pool works for could not reach it[, {times|time|times} shortly after one another].",
  ],
} as const satisfies Texts;

export type ReasonCode = keyof typeof reasonTexts;

export function isReasonCode(code: string): code is ReasonCode {
  return Object.hasOwn(reasonTexts, code);
}

/** What needs the operator. {why} is in the words of the program that found it, as its log has them. */
export const exceptionTexts = {
  unhealthy: ["{why}", "No work is answered meanwhile; the log says why."],
  "books-unreadable": ["The books cannot be read now: {why}"],
  "books-differ": ["{why}", "See `openpool ledger check`."],
  "promise-over-share": ["{why}", "`openpool solvency`"],
  "bad-luck": ["{why}", "`openpool solvency`"],
  "reserve-negative": ["{why}", "`openpool solvency`"],
  "reserve-thin": ["{why}", "`openpool solvency`"],
  "tickets-unpaid": ["{why}", "`openpool solvency`"],
  "pot-empty": ["{why}", "`openpool solvency`"],
  "credits-held": ["{why}", "`openpool hooks held`, then `openpool hooks release`"],
  "disk-low": [
    "{freeMib} MiB are free where the pool keeps its data.",
    "Make room: when the disk is full, no work is answered.",
  ],
  "upstream-lost": [
    "The orchestrator {upstream} does not have this pool: {why}.",
    "`openpool doctor --upstream` looks into it.",
  ],
  "no-rigs": ["No rig is connected.", "Without one no work is taken."],
  barred: ["A rig is barred: {why}.", "It earns its way back by good results."],
  probation: ["A rig is on probation: {why}.", "It earns its way back by good results."],
  "payouts-halted": ["{why}", "[!books Look at the transactions, then `openpool payouts resume`.]"],
  "payouts-paused": ["Payouts are paused: {why}", "`openpool payouts resume`"],
  "payouts-wait": ["{why}"],
  "low-float": ["{why}"],
  "high-float": ["{why}"],
  "approval-needed": ["A payout run waits for an approval: {why}", "`openpool payouts approve {run}`"],
  "payment-failed": [
    "Its last payment failed, and its money is owed again: {why}.",
    "`openpool payouts retry {worker}`",
  ],
  "worker-held": ["Nothing is paid to it: {why}.", "`openpool workers release {worker}`"],
  "more-payees": ["{workers} more workers are not paid.", "`openpool payouts plan`"],
} as const satisfies Texts;

export type ExceptionCode = keyof typeof exceptionTexts;

/** The reasons of routing decisions. */
export type DecisionCode = Extract<ReasonCode, `chosen-${string}` | `not-chosen-${string}`>;

const receivers: Readonly<Record<string, string>> = {
  unit: "the worker who did the job",
  segment: "a pot that pays a fixed amount for each segment",
  proportional: "the workers, by their part of the pool's work in a period",
  blend: "the workers, partly by job and partly by their part of a period's work",
};

/** To whom the workers' share of a fee goes under a scheme. */
export function shareGoesTo(scheme: string): string {
  return receivers[scheme] ?? `the workers by the scheme ${scheme}`;
}

/** The terms in one sentence; its facts are those of {@link termsFacts}. */
export function termsText(scheme: string): string {
  return `Of every fee the pool keeps {commissionPpm} and {sharePpm} goes to ${shareGoesTo(scheme)}; [held {holdMs} for checks][!holdMs owed at once], paid from {minimumPayoutWei} on, gas on the {gasBorneBy}.`;
}

export function termsFacts(terms: {
  readonly commissionPpm: number;
  readonly holdMs: number;
  readonly minimumPayoutWei: string;
  readonly gasBorneBy: string;
}): Facts {
  const { commissionPpm, holdMs, minimumPayoutWei, gasBorneBy } = terms;
  return {
    commissionPpm,
    sharePpm: 1_000_000 - commissionPpm,
    ...(holdMs === 0 ? {} : { holdMs }),
    minimumPayoutWei,
    gasBorneBy,
  };
}

/** A part of a sentence; everything but text is written or drawn by whoever shows it. */
export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "amount"; readonly wei: string }
  | { readonly kind: "span"; readonly ms: number }
  | { readonly kind: "moment"; readonly at: string }
  | { readonly kind: "share"; readonly ppm: number };

const PART = /\[(?:!(\w+) )?([^\]]*)\]|\{(\w+)(?:([|?])([^|}]*)\|([^}]*))?\}/g;

/**
 * A sentence in parts, as `texts` say facts that are sentences themselves. A fact that is missing leaves a dash, which no
 * template with all its facts has.
 */
export function piecesOf(template: string, facts: Facts, texts: Texts = reasonTexts): Piece[] {
  const pieces: Piece[] = [];
  const say = (text: string): void => void (text !== "" && pieces.push({ kind: "text", text }));
  let from = 0;
  for (const found of template.matchAll(PART)) {
    const [whole, unless, optional, name = "", mark, one = "", more = ""] = found;
    say(template.slice(from, found.index));
    from = found.index + whole.length;
    if (optional !== undefined) {
      const there = unless === undefined ? factsIn(optional).every((each) => each in facts) : !(unless in facts);
      if (there) pieces.push(...piecesOf(optional, facts, texts));
      continue;
    }
    const value = facts[name];
    const { [`${name}Code`]: code, ...others } = facts;
    const inner = typeof code === "string" && Object.hasOwn(texts, code) ? texts[code] : undefined;
    // Without its code: a sentence is no part of itself.
    if (inner !== undefined) pieces.push(...piecesOf(inner[0], others, texts));
    else if (value === undefined) say("–");
    else if (mark !== undefined) say(`${mark === "|" ? `${value} ` : ""}${Number(value) === 1 ? one : more}`);
    else if (name.endsWith("Wei")) pieces.push({ kind: "amount", wei: String(value) });
    else if (name.endsWith("Ms")) pieces.push({ kind: "span", ms: Number(value) });
    else if (name.endsWith("At")) pieces.push({ kind: "moment", at: String(value) });
    else if (name.endsWith("Ppm")) pieces.push({ kind: "share", ppm: Number(value) });
    else say(String(value));
  }
  say(template.slice(from));
  return pieces;
}

/** A sentence whose facts are words and numbers, nothing that has to be written in a form of its own. */
export function wordsOf(template: string, facts: Facts): string {
  return piecesOf(template, facts)
    .map((piece) => (piece.kind === "text" ? piece.text : ""))
    .join("");
}

function factsIn(template: string): string[] {
  return [...template.matchAll(/\{(\w+)/g)].map(([, name = ""]) => name);
}

type NameIn<Inside extends string> = Inside extends `${infer Name}?${string}`
  ? Name
  : Inside extends `${infer Name}|${string}`
    ? Name
    : Inside;
type NamesIn<Template extends string> = Template extends `${string}{${infer Inside}}${infer Rest}`
  ? NameIn<Inside> | NamesIn<Rest>
  : never;
type Always<Template extends string> = Template extends `${infer Before}[${string}]${infer After}`
  ? Always<`${Before}${After}`>
  : Template;
type Unless<Template extends string> = Template extends `${string}[!${infer Name} ${infer Rest}`
  ? Name | Unless<Rest>
  : never;
type Given<Text extends string> = Readonly<Record<NamesIn<Always<Text>>, string | number | bigint>> &
  Readonly<Partial<Record<NamesIn<Text> | Unless<Text>, string | number | bigint | undefined>>>;

/** The facts that a reason needs, by name, and those that it may have. */
export type FactsOf<Code extends ReasonCode> = Given<Extract<(typeof reasonTexts)[Code][number], string>>;

/** The same of what needs the operator. */
export type ExceptionFacts<Code extends ExceptionCode> = Given<Extract<(typeof exceptionTexts)[Code][number], string>>;
