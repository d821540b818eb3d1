import { newQuickJSWASMModuleFromVariant, type QuickJSContext, type QuickJSHandle } from "quickjs-emscripten-core";

/** What one call of a hook came to. `missing`: the module has no such function. */
export type SandboxAnswer =
  | { readonly kind: "answer"; readonly json: string | undefined }
  | { readonly kind: "missing" }
  | { readonly kind: "failed"; readonly why: string };

/** All a module may allocate in one call, its code included. */
const MEMORY_BYTES = 8 * 1024 * 1024;
const STACK_BYTES = 256 * 1024;
/** The engine asks after every ten thousand jumps and calls: about a million in all, some 5 ms. */
const MAX_INTERRUPTS = 100;
const MAX_ANSWER_CHARS = 64 * 1024;
const MAX_WHY_CHARS = 300;

/**
 * What a call goes through inside the engine, set up before the module is read: amounts become BigInt on the way in and text on
 * the way out. What would make two calls differ (chance, the hour, when memory is collected) is taken away first.
 */
const HARNESS = `(() => {
  for (const name of ["Date", "performance", "queueMicrotask", "WeakRef", "FinalizationRegistry", "Atomics",
    "SharedArrayBuffer", "navigator", "DOMException", "gc"]) delete globalThis[name];
  delete Math.random;
  const { parse, stringify } = JSON;
  const Big = BigInt;
  const text = String;
  return (fn, input) => stringify(
    fn(parse(input, (key, value) =>
      typeof value === "string" && /^(?:\\w*Wei|pixels)$/.test(key) ? Big(value) : value)),
    (_key, value) => typeof value === "bigint" ? text(value) : value);
})()`;

/** QuickJS, compiled to WebAssembly. Nothing of this process can be reached from inside. */
export interface Sandbox {
  /**
   * Calls an exported function of a module with JSON, in an engine made for this one call: nothing is remembered from one call to
   * the next. It throws only when the engine itself breaks, and must not be used again then.
   */
  call(source: string, name: string, inputJson: string): SandboxAnswer;
  /** The names of the functions that a module exports, or why it cannot be read. */
  exports(source: string): { readonly names: readonly string[] } | { readonly why: string };
}

/** Loads the engine; some 20 ms. */
export async function createSandbox(): Promise<Sandbox> {
  const engine = await newQuickJSWASMModuleFromVariant(import("@jitl/quickjs-ng-wasmfile-release-sync"));
  /** Runs `work` on the loaded module. */
  const withModule = <T>(
    source: string,
    work: (context: QuickJSContext, module: QuickJSHandle, harness: QuickJSHandle) => T,
  ): T | { readonly kind: "failed"; readonly why: string } => {
    let interrupts = 0;
    const runtime = engine.newRuntime({
      memoryLimitBytes: MEMORY_BYTES,
      maxStackSizeBytes: STACK_BYTES,
      interruptHandler: () => ++interrupts > MAX_INTERRUPTS,
    });
    const context = runtime.newContext();
    // Not undone when the engine itself throws: its memory may be anything then, and whoever calls ends it.
    const harness = context.unwrapResult(context.evalCode(HARNESS, "harness.js"));
    const loaded = context.evalCode(source, "hooks.js", { type: "module" });
    let result: T | { readonly kind: "failed"; readonly why: string };
    if (loaded.error) {
      result = { kind: "failed", why: describe(context, loaded.error) };
    } else {
      result = work(context, loaded.value, harness);
      loaded.value.dispose();
    }
    harness.dispose();
    context.dispose();
    runtime.dispose();
    return result;
  };

  return {
    call(source, name, inputJson) {
      return withModule<SandboxAnswer>(source, (context, module, harness) => {
        const fn = context.getProp(module, name);
        try {
          if (context.typeof(fn) !== "function") return { kind: "missing" };
          const input = context.newString(inputJson);
          const result = context.callFunction(harness, context.undefined, fn, input);
          input.dispose();
          if (result.error) return { kind: "failed", why: describe(context, result.error) };
          try {
            if (context.typeof(result.value) !== "string") return { kind: "answer", json: undefined };
            const length = context.getProp(result.value, "length");
            const chars = context.getNumber(length);
            length.dispose();
            if (!(chars <= MAX_ANSWER_CHARS)) {
              return { kind: "failed", why: `it answered ${chars} characters, more than ${MAX_ANSWER_CHARS}` };
            }
            return { kind: "answer", json: context.getString(result.value) };
          } finally {
            result.value.dispose();
          }
        } finally {
          fn.dispose();
        }
      });
    },
    exports(source) {
      const found = withModule(source, (context, module) => {
        const names = context.unwrapResult(context.getOwnPropertyNames(module, { strings: true, numbers: false }));
        try {
          return names
            .map((name) => context.getString(name))
            .filter((name) => context.getProp(module, name).consume((value) => context.typeof(value)) === "function");
        } finally {
          names.dispose();
        }
      });
      return "kind" in found ? { why: found.why } : { names: found };
    },
  };
}

/** What a module threw, in a line; it may throw anything. */
function describe(context: QuickJSContext, error: QuickJSHandle): string {
  try {
    const text = (name: string): string | undefined =>
      context.getProp(error, name).consume((value) => {
        if (context.typeof(value) !== "string") return undefined;
        return context.getString(value);
      });
    if (context.typeof(error) !== "object") {
      return context.typeof(error) === "string"
        ? `it threw ${oneLine(context.getString(error))}`
        : `it threw a ${context.typeof(error)}`;
    }
    const message = text("message") ?? "";
    const name = text("name") ?? "";
    if (name === "InternalError" && message === "interrupted") return "it took too many steps";
    if (name === "InternalError" && message === "out of memory") return "it used too much memory";
    const place = /hooks\.js:\d+(?::\d+)?/.exec(text("stack") ?? "")?.[0];
    return oneLine(`it threw ${name || "an error"}: ${message}${place === undefined ? "" : ` (${place})`}`);
  } catch {
    return "it threw something that cannot be read";
  } finally {
    error.dispose();
  }
}

/** Text of a module for people: one line, bounded, without anything that steers a terminal. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are exactly what is replaced
  const plain = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
  return plain.length > MAX_WHY_CHARS ? `${plain.slice(0, MAX_WHY_CHARS)}…` : plain;
}
