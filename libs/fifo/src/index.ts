export { type FifoOptions, type Fifos, openFifos } from './fifos.ts'
