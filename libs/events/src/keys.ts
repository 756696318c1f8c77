/** Where the log lives; what is in each is said where they are defined. */
export { eventLogKey as logKey, eventPositionsKey as positionsKey, eventStateKey as stateKey } from '@flotilla/metadata'
