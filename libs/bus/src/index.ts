export { type Bus, type BusOptions, createBus } from './bus.ts'
export { commandClient } from './command-client.ts'
export { serveCommands } from './command-server.ts'
export { cancelSubject, commandSubject, fromSubjectToken, subjectToken } from './subject.ts'
