import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  // Our own packages from their sources: the pages build without `tsc -b`, and only what is used gets in.
  resolve: { conditions: ["source", "module", "browser", "production"] },
  // The pool forbids inline scripts and `data:` addresses, so nothing may be inlined.
  build: { target: "es2022", assetsInlineLimit: 0, reportCompressedSize: false },
});
