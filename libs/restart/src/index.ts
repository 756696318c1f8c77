export { createRestartMonitor, type RestartDeps } from './monitor.ts'
