/** The page's side of the webview: its messages to the extension and the state it keeps over reloads. */

interface HostApi {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare function acquireVsCodeApi(): HostApi;

export interface Host<Request, Update, State> {
  post(request: Request): void;
  onUpdate(listener: (update: Update) => void): void;
  state(): State | undefined;
  keep(state: State): void;
}

/** Connects to the extension. Once a page. Messages that `isUpdate` does not let in are not the extension's. */
export function connectHost<Request, Update, State>(
  isUpdate: (message: unknown) => message is Update,
): Host<Request, Update, State> {
  const api = acquireVsCodeApi();
  return {
    post: (request) => api.postMessage(request),
    onUpdate: (listener) =>
      window.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
        if (isUpdate(data)) listener(data);
      }),
    state: () => api.getState() as State | undefined,
    keep: (state) => api.setState(state),
  };
}

/** What the extension wrote into the page for it to start with (`data-state` of the body). */
export function initialState<State>(): State {
  return JSON.parse(document.body.dataset.state ?? 'null') as State;
}
