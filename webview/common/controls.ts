/**
 * All controls of our pages. The toolkit behind them is archived upstream; nothing else imports it, so that it
 * can be replaced here.
 */
import {
  provideVSCodeDesignSystem,
  vsCodeButton,
  vsCodeCheckbox,
  vsCodeDropdown,
  vsCodeOption,
  vsCodeTextField,
} from '@vscode/webview-ui-toolkit';

/** Defines the elements. Once a page, before the first control is made. */
export function registerControls(): void {
  provideVSCodeDesignSystem().register(
    vsCodeButton(),
    vsCodeCheckbox(),
    vsCodeDropdown(),
    vsCodeOption(),
    vsCodeTextField(),
  );
}

export interface ButtonOptions {
  label: string;
  /** Said by screen readers and shown as a tooltip when the label is only a sign. */
  title?: string;
  appearance?: 'primary' | 'secondary' | 'icon';
  onPress: () => void;
}

export interface ButtonControl {
  element: HTMLElement;
  setEnabled(enabled: boolean): void;
  setVisible(visible: boolean): void;
}

export function button(options: ButtonOptions): ButtonControl {
  const element = document.createElement('vscode-button');
  element.setAttribute('appearance', options.appearance ?? 'secondary');
  element.textContent = options.label;
  if (options.title) {
    element.title = options.title;
    element.setAttribute('aria-label', nameOf(options.label, options.title, options.appearance === 'icon'));
  }
  element.addEventListener('click', options.onPress);
  return {
    element,
    setEnabled: (enabled) => element.toggleAttribute('disabled', !enabled),
    setVisible: (visible) => element.toggleAttribute('hidden', !visible),
  };
}

/** Who speaks to the screen says what is written on a button: its name begins with that, unless it is a sign. */
function nameOf(label: string, title: string, isSign: boolean): string {
  return isSign || title.startsWith(label) ? title : `${label}: ${title}`;
}

export interface ChooserControl {
  element: HTMLElement;
  /** Replaces the choices; nothing is announced through `onChoose`. */
  setChoices(choices: string[], current: string): void;
}

export function chooser(
  label: string,
  onChoose: (choice: string) => void,
  opens: 'above' | 'below' = 'below',
): ChooserControl {
  const element = document.createElement('vscode-dropdown');
  element.setAttribute('position', opens);
  element.setAttribute('aria-label', label);
  let shown = '';
  element.addEventListener('change', () => onChoose((element as unknown as HTMLSelectElement).value));
  return {
    element,
    setChoices(choices, current) {
      const key = JSON.stringify([choices, current]);
      if (key === shown) return;
      shown = key;
      element.replaceChildren(
        ...choices.map((choice) => {
          const option = document.createElement('vscode-option');
          option.textContent = choice;
          option.toggleAttribute('selected', choice === current);
          return option;
        }),
      );
    },
  };
}

export interface TagControl {
  element: HTMLElement;
  set(label: string, kind: string): void;
}

/** A small label whose `data-kind` the style sheet may colour. (The toolkit's own needs inline styles.) */
export function tag(): TagControl {
  const element = document.createElement('span');
  element.className = 'tag';
  return {
    element,
    set(label, kind) {
      element.textContent = label;
      element.dataset.kind = kind;
    },
  };
}

export interface ToggleControl {
  element: HTMLElement;
  set(isOn: boolean): void;
}

/** A switch with its label beside it. */
export function toggle(label: string, isOn: boolean, onChange: (isOn: boolean) => void): ToggleControl {
  const element = document.createElement('vscode-checkbox') as HTMLElement & { checked: boolean };
  element.textContent = label;
  element.toggleAttribute('checked', isOn);
  element.addEventListener('change', () => onChange(element.checked));
  return { element, set: (value) => (element.checked = value) };
}

/** A whole number, reported when it was changed and lies within the bounds. */
export function numberField(
  label: string,
  value: number,
  { min, max }: { min: number; max: number },
  onChange: (value: number) => void,
): HTMLElement {
  const element = document.createElement('vscode-text-field') as HTMLElement & { value: string };
  element.className = 'number';
  element.textContent = label;
  element.setAttribute('size', '6');
  element.setAttribute('value', String(value));
  element.addEventListener('change', () => {
    const entered = Number(element.value);
    const isGood = Number.isInteger(entered) && entered >= min && entered <= max;
    if (!isGood) element.value = String(value);
    else if (entered !== value) onChange(entered);
  });
  return element;
}
