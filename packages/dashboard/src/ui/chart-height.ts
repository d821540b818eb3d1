/** Of every chart, in pixels: its place is kept before it is there. */
export const CHART_HEIGHT = 190;
