export { collectNamespace } from './collect-namespace.ts'
