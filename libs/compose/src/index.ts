export type { Host, Part } from './part.ts'
export * as part from './parts/index.ts'
export { parts } from './parts/index.ts'
export { type AppOptions, runApp } from './run-app.ts'
