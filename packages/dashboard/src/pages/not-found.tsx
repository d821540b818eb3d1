import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { text } from "../text.tsx";
import { Lookup } from "../ui/lookup.tsx";

export function NotFoundPage(): ReactNode {
  return (
    <>
      <h1 className="line">{text.notFound.title}</h1>
      <Lookup large />
      <p className="mt-6 text-soft">
        <Link to="/">{text.notFound.home}</Link>
      </p>
    </>
  );
}
