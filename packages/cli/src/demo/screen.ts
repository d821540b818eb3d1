/** A whole terminal, drawn in place: only lines that changed are written, so nothing flickers. */
export interface Screen extends Disposable {
  draw(lines: readonly string[]): void;
  readonly size: { readonly columns: number; readonly rows: number };
}

/** The terminal as the screen needs it. */
export interface Terminal {
  write(text: string): unknown;
  readonly columns?: number;
  readonly rows?: number;
  on(event: "resize", listener: () => void): unknown;
  off(event: "resize", listener: () => void): unknown;
}

const enter = "\u001b[?1049h\u001b[?25l";
const leave = "\u001b[?25h\u001b[?1049l";
// A terminal that knows these shows the lines between them at once.
const beginUpdate = "\u001b[?2026h";
const endUpdate = "\u001b[?2026l";

/** Takes over the terminal; disposing gives it back as it was. */
export function openScreen(terminal: Terminal): Screen {
  let shown: string[] = [];
  let drawn: readonly string[] = [];
  const clear = (): void => {
    shown = [];
    terminal.write("\u001b[2J");
    draw(drawn);
  };
  const draw = (lines: readonly string[]): void => {
    drawn = lines;
    let text = "";
    for (let row = 0; row < Math.max(lines.length, shown.length); row++) {
      const line = lines[row] ?? "";
      if (line !== shown[row]) text += `\u001b[${row + 1};1H${line}\u001b[0m\u001b[K`;
    }
    shown = [...lines];
    if (text !== "") terminal.write(`${beginUpdate}${text}${endUpdate}`);
  };
  terminal.write(enter);
  terminal.on("resize", clear);
  return {
    draw,
    get size() {
      return { columns: terminal.columns ?? 80, rows: terminal.rows ?? 24 };
    },
    [Symbol.dispose]() {
      terminal.off("resize", clear);
      terminal.write(leave);
    },
  };
}

/** The keyboard as the demo needs it. */
export interface Keyboard {
  setRawMode?(on: boolean): unknown;
  resume(): unknown;
  pause(): unknown;
  on(event: "data", listener: (data: Buffer) => void): unknown;
  off(event: "data", listener: (data: Buffer) => void): unknown;
}

/** Calls back with every key; Ctrl-C arrives as `q`. Disposing gives the keyboard back. */
export function watchKeys(keyboard: Keyboard, onKey: (key: string) => void): Disposable {
  const onData = (data: Buffer): void => {
    for (const key of data.toString()) onKey(key === "\u0003" || key === "\u0004" ? "q" : key.toLowerCase());
  };
  keyboard.setRawMode?.(true);
  keyboard.on("data", onData);
  keyboard.resume();
  return {
    [Symbol.dispose]() {
      keyboard.off("data", onData);
      keyboard.setRawMode?.(false);
      keyboard.pause();
    },
  };
}
