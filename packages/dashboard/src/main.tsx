import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiProblem } from "./api/client.ts";
import { router } from "./router.tsx";
import "./style.css";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // Asking goes on by the interval anyway; a refusal does not change by asking at once again.
      retry: (failures, error) => !(error instanceof ApiProblem) && failures < 1,
      retryDelay: 1_000,
      // A browser that believes itself offline may still reach a pool in the same house.
      networkMode: "always",
    },
  },
});

const root = document.getElementById("root");
if (root === null) throw new Error("index.html lost its #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
