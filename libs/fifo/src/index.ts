export { type FifoOptions, type Fifos, openFifos, type ReopenOptions, reopenFifos } from './fifos.ts'
