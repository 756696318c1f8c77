export { createSlots, type Slots } from './slots.ts'
export { Turns } from './turns.ts'
