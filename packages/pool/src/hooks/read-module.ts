import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { errorCode, errorText, PoolError } from "@openpool/base";

export class HookError extends PoolError<{
  readonly code: "hooks/unreadable" | "hooks/no-typescript" | "hooks/bad-module" | "hooks/unknown-module";
}> {}

/** An operator's module as it runs: plain JavaScript, named by its own bytes. */
export interface HookModule {
  /** `sha256:` and the hash of `source`, hex. */
  readonly hash: string;
  readonly source: string;
}

const MAX_SOURCE_BYTES = 256 * 1024;

export function hashOfHook(source: string): string {
  return `sha256:${createHash("sha256").update(source).digest("hex")}`;
}

/**
 * Reads a module from a `.js`, `.mjs` or `.ts` file. TypeScript is stripped of its types with the `typescript` package, where that
 * is installed; nothing is checked, imports are not followed.
 *
 * @throws HookError `hooks/unreadable`, `hooks/no-typescript` or `hooks/bad-module`.
 */
export async function readHookModule(path: string): Promise<HookModule> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new HookError(
      { code: "hooks/unreadable" },
      `${path} cannot be read (${errorCode(cause) ?? errorText(cause)}). Write a new one with \`openpool hooks init\`.`,
      { cause },
    );
  }
  const source = /\.[cm]?ts$/.test(path) ? await stripTypes(path, text) : text;
  if (Buffer.byteLength(source) > MAX_SOURCE_BYTES) {
    throw new HookError({ code: "hooks/bad-module" }, `${path} is larger than ${MAX_SOURCE_BYTES / 1024} KiB.`);
  }
  return { hash: hashOfHook(source), source };
}

async function stripTypes(path: string, text: string): Promise<string> {
  let typescript: typeof import("typescript");
  try {
    typescript = (await import("typescript")).default;
  } catch (cause) {
    throw new HookError(
      { code: "hooks/no-typescript" },
      `${path} is TypeScript, and the package "typescript" is not installed here: install it, or give the compiled JavaScript.`,
      { cause },
    );
  }
  const { outputText, diagnostics } = typescript.transpileModule(text, {
    fileName: path,
    reportDiagnostics: true,
    compilerOptions: {
      target: typescript.ScriptTarget.ES2022,
      module: typescript.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
  });
  const [problem] = diagnostics ?? [];
  if (problem) {
    const line = problem.file ? problem.file.getLineAndCharacterOfPosition(problem.start ?? 0).line + 1 : 1;
    throw new HookError(
      { code: "hooks/bad-module" },
      `${path}:${line}: ${typescript.flattenDiagnosticMessageText(problem.messageText, " ")}`,
    );
  }
  return outputText;
}
